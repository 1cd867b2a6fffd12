// SPDX-License-Identifier: MIT
// A talker in node: state in the main thread and in a worker thread, a timer that must go on
// ticking, a file that is read anew for every answer.
const { Worker } = require('worker_threads');
const fs = require('fs');
const worker = new Worker(
  `const { parentPort } = require('worker_threads');
   let sum = 0;
   parentPort.on('message', (n) => { sum += n; parentPort.postMessage(sum); });`, { eval: true });
let ticks = 0, sum = 0;
setInterval(() => { ticks++; }, 1);
const once = (n) => new Promise((resolve) => {
  worker.once('message', resolve);
  worker.postMessage(n);
});
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const n = Number(line.split(' ')[1]);
  const before = ticks;
  while (ticks < before + 2) await new Promise((resolve) => setTimeout(resolve, 1));
  const file = await fs.promises.readFile(__filename, 'utf8');
  sum += n;
  console.log(`${sum} ${await once(n)} ${file.includes('SPDX')}`);
}).on('close', () => process.exit(0));
worker.once('online', () => console.log('ready'));
