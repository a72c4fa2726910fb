package scrub

import (
	"fmt"
	"strings"
	"testing"
)

const key = "sk-live-4Zt7/Qa9+xLm2Kp8Wv3Nb6Yc1Rd5"

var prose = strings.Repeat("The invoice for July was paid on the 3rd; a copy went to Mrs Okafor, who asked for terms.\n", 12000)

func jsonText() string {
	var b strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&b, `{"id":%d,"name":"customer %d","note":"said \"hello\" and left\n","url":"https:\/\/x.example\/%d","ok":true},`+"\n", i, i*7, i)
	}
	return b.String()
}

func BenchmarkMask(b *testing.B) {
	texts := map[string]string{
		"prose": prose, "json": jsonText(), "percent": strings.Repeat("%41%42c%2Fd%20", 80000),
		"zeros":       strings.Repeat("\x00", 1<<20),
		"backslashes": strings.Repeat(`\`, 1<<20),
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			s := New(key)
			buf := []byte(text)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				s.Mask(buf)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{40, 64, 2048, 32768} {
		v := strings.Repeat(key, n/len(key)+1)[:n]
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				New(v)
			}
		})
	}
}
