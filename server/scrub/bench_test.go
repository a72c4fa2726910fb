package scrub_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/scrub"
)

const key = "sk-live-4Zt7/Qa9+xLm2Kp8Wv3Nb6Yc1Rd5"

// texts are bodies without a secret: what nearly all answers are, and those that cost the most.
func texts() map[string]string {
	var records strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&records,
			`{"id":%d,"name":"customer %d","note":"said \"hello\" and left\n","url":"https:\/\/x.example\/%d"},`,
			i, i*7, i)
	}
	return map[string]string{
		"prose":       strings.Repeat(prose, 3),
		"json":        records.String(),
		"binary":      strings.Repeat("\x00\xff\x13\x37", 1<<18),
		"percent":     strings.Repeat("%41%42c%2Fd%20", 70000),
		"backslashes": strings.Repeat(`\`, 1<<20),
		"mixed":       strings.Repeat(`%5C\\&amp;#x5c;`, 70000),
	}
}

// perCoreSecond reports the speed in MB per second of processor time, which does not depend on what else runs.
func perCoreSecond(b *testing.B, size int, work func()) {
	b.ReportAllocs()
	start := cpu()
	for b.Loop() {
		work()
	}
	b.ReportMetric(float64(size)*float64(b.N)/1e6/(cpu()-start).Seconds(), "MB/core-s")
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkMask(b *testing.B) {
	s := scrub.New(key)
	for name, text := range texts() {
		buf := []byte(text)
		b.Run(name, func(b *testing.B) { perCoreSecond(b, len(buf), func() { s.Mask(buf) }) })
	}
}

func BenchmarkReader(b *testing.B) {
	s := scrub.New(key)
	for name, text := range texts() {
		buf := make([]byte, 32<<10)
		src := strings.NewReader(text)
		b.Run(name, func(b *testing.B) {
			perCoreSecond(b, len(text), func() {
				src.Reset(text)
				r := s.Reader(src)
				for {
					if _, err := r.Read(buf); err == io.EOF {
						break
					}
				}
			})
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Date": {"Sun, 29 Nov 2026 23:18:34 GMT"},
		"Cache-Control": {"no-store, max-age=0"}, "Content-Length": {"1024"}, "X-Request-Id": {"0190f2a4b7c8d9e0"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
		"Etag":                    {`"5d41402abc4b2a76b9719d911017c592"`},
		"X-Ratelimit-Remaining":   {"4999"}, "Vary": {"Accept, Accept-Encoding"}, "Server": {"nginx"}}
	s := scrub.New(key)
	perCoreSecond(b, 300, func() { s.Header(h) })
}

// BenchmarkFloor searches for the value as it is, and for nothing else: what a scrubber can be compared with.
func BenchmarkFloor(b *testing.B) {
	for name, text := range texts() {
		buf := []byte(text)
		b.Run(name, func(b *testing.B) { perCoreSecond(b, len(buf), func() { bytes.Contains(buf, []byte(key)) }) })
	}
}

func BenchmarkNew(b *testing.B) {
	for _, size := range []int{40, 64, 2048, 32768} {
		value := strings.Repeat(key, size/len(key)+1)[:size]
		b.Run(fmt.Sprint(size), func(b *testing.B) { perCoreSecond(b, size, func() { scrub.New(value) }) })
	}
}
