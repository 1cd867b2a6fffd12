// SPDX-License-Identifier: MIT
// A talker in java: a map on the heap, and a thread that makes garbage all the while, so that the
// collector moves what the answers come from.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Map;

public class Talker {
  static volatile Object garbage;
  static volatile long made;

  public static void main(String[] arguments) throws Exception {
    Map<Integer, long[]> numbers = new HashMap<>();
    for (int i = 0; i < 20000; i++) numbers.put(i, new long[] {i});
    Thread waste = new Thread(() -> {
      while (true) {
        garbage = new byte[16 * 1024];
        made++;
        if (made % 64 == 0) {
          try {
            Thread.sleep(1);
          } catch (InterruptedException e) {
            System.out.println("interrupted");
          }
        }
      }
    });
    waste.setDaemon(true);
    waste.start();
    System.out.println("ready");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null;) {
      long add = Long.parseLong(line.split(" ")[1]);
      long before = made, sum = 0;
      while (made < before + 500) Thread.onSpinWait();
      for (Map.Entry<Integer, long[]> e : numbers.entrySet()) {
        e.setValue(new long[] {e.getValue()[0] + add});
        sum += e.getValue()[0];
      }
      System.out.println(sum);
    }
  }
}
