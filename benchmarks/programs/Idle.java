// SPDX-License-Identifier: MIT
// A java program of THREADS threads, as the kernel counts them: the JVM's own and sleeping ones.
// Answers whatever comes on its stdin with "ok" and its threads.
import java.io.File;

public class Idle {
  static int threads() {
    return new File("/proc/self/task").list().length;
  }

  public static void main(String[] arguments) throws Exception {
    final int wanted = Integer.parseInt(arguments[0]);
    long[][] numbers = new long[20000][];
    for (int i = 0; i < numbers.length; i++) numbers[i] = new long[] {i};
    while (threads() < wanted) {
      Thread sleeper = new Thread(() -> {
        while (true) {
          try {
            Thread.sleep(50);
          } catch (InterruptedException e) {
            System.out.println("interrupted");
          }
        }
      });
      sleeper.setDaemon(true);
      sleeper.start();
    }
    byte[] room = new byte[8192];
    do {
      System.out.println("ok " + threads());
    } while (System.in.read(room) > 0);
    if (numbers[19999][0] != 19999) System.exit(1);
  }
}
