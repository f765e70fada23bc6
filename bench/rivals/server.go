// Go's net: a goroutine for each connection with a buffer of 16 KiB, reads and writes in turn.
// TCP_NODELAY is Go's default; the backlog is the kernel's limit. Kinds: echo, broadcast, source, sink (see
// servers/server.ts). GOMAXPROCS is the number of CPUs it may run on: one, when pinned.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

var (
	connections, errors int64
	parameter           int
	mutex               sync.Mutex
	everybody           = map[net.Conn]bool{}
	block               [65536]byte
)

func echo(c net.Conn) error {
	buffer := make([]byte, 16*1024)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return err
		}
		if _, err = c.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

func broadcast(c net.Conn) error {
	if _, err := c.Write([]byte("+")); err != nil {
		return err
	}
	buffer := make([]byte, 16*1024)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return err
		}
		mutex.Lock()
		for i := 0; i < parameter; i++ {
			for each := range everybody {
				each.Write(buffer[:n])
			}
		}
		mutex.Unlock()
	}
}

func source(c net.Conn) error {
	for left := parameter; left > 0; left -= len(block) {
		piece := block[:]
		if left < len(block) {
			piece = block[:left]
		}
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	return io.EOF
}

func sink(c net.Conn) error {
	buffer := make([]byte, 16*1024)
	count := 0
	for {
		n, err := c.Read(buffer)
		count += n
		if err == io.EOF {
			fmt.Fprint(c, count)
		}
		if err != nil {
			return err
		}
	}
}

func live(c net.Conn, serve func(net.Conn) error) {
	atomic.AddInt64(&connections, 1)
	mutex.Lock()
	everybody[c] = true
	mutex.Unlock()
	if err := serve(c); err != io.EOF {
		atomic.AddInt64(&errors, 1)
	}
	mutex.Lock()
	delete(everybody, c)
	mutex.Unlock()
	c.Close()
	atomic.AddInt64(&connections, -1)
}

func main() {
	serve := map[string]func(net.Conn) error{"echo": echo, "broadcast": broadcast, "source": source, "sink": sink}[os.Args[1]]
	if serve == nil {
		fmt.Fprintln(os.Stderr, "no such kind:", os.Args[1])
		os.Exit(2)
	}
	if len(os.Args) > 2 {
		parameter, _ = strconv.Atoi(os.Args[2])
	}
	for p := range block {
		block[p] = byte(p ^ p>>8)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("{\"port\":%d,\"pid\":%d,\"engine\":\"go\"}\n", listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			go live(c, serve)
		}
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "gc" {
			debug.FreeOSMemory()
		}
		fmt.Printf("{\"connections\":%d,\"errors\":%d}\n", atomic.LoadInt64(&connections), atomic.LoadInt64(&errors))
	}
}
