# SPDX-License-Identifier: MIT
# A talker in perl: numbers in a hash, on the stack of a closure, and in a file read from the middle.
use strict;
use warnings;
$| = 1;
my %numbers = map { $_ => $_ * 7 } 1 .. 5000;
my $sum = 0;
my $keep = sub { my $n = shift; return sub { $n += shift; $n } }->(3);
open my $self, '<', $0 or die $!;
<$self>;
print "ready\n";
while (my $line = <STDIN>) {
    my (undef, $n) = split ' ', $line;
    $_ += $n for values %numbers;
    $sum = 0;
    $sum += $_ for values %numbers;
    my $text = <$self>;
    print join(' ', $sum, $keep->($n), length $text), "\n";
}
