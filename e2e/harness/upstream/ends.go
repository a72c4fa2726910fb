package upstream

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Ends are answers that end badly, or never.
func Ends() []string {
	var names []string
	for _, e := range endings {
		names = append(names, e.name)
	}
	return names
}

func ends(x *Exchange, rest []string) bool {
	for _, e := range endings {
		if e.name == rest[0] {
			e.answer(x)
			return true
		}
	}
	return false
}

// bomb is made once, since that takes long.
var bomb = sync.OnceValue(func() []byte { return Bomb(256<<20, "") })

// tick is the time between the parts of answers that never end.
const tick = 20 * time.Millisecond

// endings hold the key wherever there is room for it.
var endings = []struct {
	name   string
	answer func(x *Exchange)
}{
	{"bomb", func(x *Exchange) { // 256 MiB in a quarter of one
		x.Send(Response{Header: []Field{{"Content-Encoding", "gzip"}}, Body: bomb()})
	}},
	{"endless", func(x *Exchange) {
		filler := strings.Repeat("and so on ", 6000)
		for ok := x.Print("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); ok; {
			ok = x.chunk(filler + x.Key)
		}
	}},
	{"drip", func(x *Exchange) { // events until the client leaves
		ok := x.Print("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i := 0; ok; i++ {
			ok = x.chunk(fmt.Sprintf("id: %d\ndata: still here, %s\n\n", i, x.Key))
			time.Sleep(tick)
		}
	}},
	{"download", func(x *Exchange) { // slowly, for as long as anybody reads
		ok := x.Print("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000000\r\n\r\n")
		for ok {
			ok = x.Print(strings.Repeat("0123456789", 100) + x.Key)
			time.Sleep(tick)
		}
	}},
	{"hang", func(x *Exchange) { x.Gone() }},
	{"stall", func(x *Exchange) {
		x.Print("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + x.Key)
		x.Gone()
	}},
	{"close", func(x *Exchange) { x.Close = true }},
	{"half", func(x *Exchange) {
		x.Print("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + x.Key)
		x.Close = true
	}},
	{"garbage", func(x *Exchange) {
		x.Print("SSH-2.0-" + x.Key + "\r\n" + string(x.Raw))
		x.Close = true
	}},
	{"header", func(x *Exchange) { // that never ends
		for ok := x.Print("HTTP/1.1 200 OK\r\n"); ok; {
			ok = x.Print("X-Echo: " + x.Key + "\r\n")
		}
	}},
	{"hints", func(x *Exchange) { // more and more of them
		for range 200 {
			x.Print("HTTP/1.1 103 Early Hints\r\nLink: <" + x.Key + ">\r\n\r\n")
		}
		x.Send(Response{Body: []byte("at last\n")})
	}},
	{"two-lengths", func(x *Exchange) {
		x.Print("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n" + strings.Repeat(x.Key, 5))
		x.Close = true
	}},
	{"two-framings", func(x *Exchange) {
		x.Print("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
		x.chunk(x.Key)
		x.Print("0\r\n\r\n")
		x.Close = true
	}},
	{"folded", func(x *Exchange) {
		x.Print("HTTP/1.1 200 OK\r\nX-Echo: a\r\n " + x.Key + "\r\nContent-Length: 2\r\n\r\nok")
	}},
	{"unasked", func(x *Exchange) { // a second answer, for whoever asks next
		x.Send(Response{Body: []byte("first\n")})
		x.Send(Response{Header: []Field{{"X-Echo", x.Key}}, Body: []byte("second " + x.Key)})
	}},
	{"forged-upgrade", func(x *Exchange) { // nobody asked
		x.Print("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n" + x.Key)
		x.Gone()
	}},
	{"foo-upgrade", func(x *Exchange) {
		x.Print("HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\n\r\n" + x.Key)
		x.Gone()
	}},
	{"h2c-upgrade", func(x *Exchange) {
		x.Print("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + x.Key)
		x.Gone()
	}},
	{"odd-status", func(x *Exchange) { x.Send(Response{Status: 999, Body: []byte(x.Key)}) }},
}

// chunk sends one chunk of a body.
func (x *Exchange) chunk(text string) bool {
	return x.Print(fmt.Sprintf("%x\r\n%s\r\n", len(text), text))
}
