// SPDX-License-Identifier: MIT
// A node program whose main thread sleeps in read(2). Answers whatever comes on its stdin with "ok"
// and how many threads it has.
const fs = require('fs');
const numbers = Array.from({ length: 20000 }, (_, i) => ({ i }));
const room = Buffer.alloc(8192);
do {
  fs.writeSync(1, `ok ${fs.readdirSync('/proc/self/task').length}\n`);
} while (fs.readSync(0, room) > 0);
process.exit(numbers[19999].i === 19999 ? 0 : 1);
