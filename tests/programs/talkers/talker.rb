# SPDX-License-Identifier: MIT
# A talker in ruby: a fiber, a thread with a queue, and an array that the collector compacts.
$stdout.sync = true
numbers = (1..5000).map { |n| [n] }
fiber = Fiber.new do |n|
  kept = 0
  loop { n = Fiber.yield(kept += n) }
end
questions, answers = Queue.new, Queue.new
Thread.new { kept = 0; loop { answers << (kept += questions.pop) } }
puts "ready"
while (line = $stdin.gets)
  n = line.split[1].to_i
  numbers.map! { |x| [x[0] + n] }
  GC.start
  questions << n
  puts [numbers.sum { |x| x[0] }, fiber.resume(n), answers.pop].join(" ")
end
