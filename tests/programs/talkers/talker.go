// SPDX-License-Identifier: MIT
// A talker in go: a ring of goroutines, through which every number goes over channels.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	const count = 200
	first := make(chan int)
	in := first
	for i := 0; i < count; i++ {
		out := make(chan int)
		go func(in <-chan int, out chan<- int, kept int) {
			for n := range in {
				kept += n
				out <- kept
			}
		}(in, out, i)
		in = out
	}
	ticks := time.NewTicker(time.Millisecond)
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, _ := strconv.Atoi(strings.Fields(lines.Text())[1])
		<-ticks.C
		first <- n
		fmt.Println((<-in) % 1000003)
	}
}
