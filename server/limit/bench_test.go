package limit_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/server/limit"
)

func million() limit.Rules {
	r := limit.Rules{}
	for _, rate := range []*limit.Rate{&r.Address, &r.Client, &r.Tenant, &r.SecretFailures} {
		if err := rate.UnmarshalText([]byte("1000000/s")); err != nil {
			panic(err)
		}
	}
	return r
}

// BenchmarkRequest is what every request pays before anything is read of it: address and tenant.
func BenchmarkRequest(b *testing.B) {
	l, tenant := open(b, limit.Config{Rules: million(), Store: embedded(b, newClock())}), newTenant()
	from := address(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = l.Request(tenant, from)
		}
	})
}

// BenchmarkRequestOfAStranger makes a budget each time.
func BenchmarkRequestOfAStranger(b *testing.B) {
	l, tenant := open(b, limit.Config{Rules: million()}), newTenant()
	var serial atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = l.Request(tenant, address(int(serial.Add(1))))
		}
	})
}

// BenchmarkClient is what a client pays that has proven who it is.
func BenchmarkClient(b *testing.B) {
	l, tenant := open(b, limit.Config{Rules: million(), Store: embedded(b, newClock())}), newTenant()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = l.Client(tenant, "ap-bot")
		}
	})
}

// BenchmarkSecret is what a right secret pays.
func BenchmarkSecret(b *testing.B) {
	l, tenant := open(b, limit.Config{Rules: million()}), newTenant()
	b.ReportAllocs()
	for i := range b.N {
		g := l.Guard(tenant, address(i%100))
		if g.Try("ap-bot", "brs_0123456789012345678901234567890123456789012345678") == nil {
			g.Tried("ap-bot", "brs_0123456789012345678901234567890123456789012345678", true)
		}
	}
}

// BenchmarkGuess is what a wrong secret costs us.
func BenchmarkGuess(b *testing.B) {
	l, tenant := open(b, limit.Config{Rules: million()}), newTenant()
	g := l.Guard(tenant, address(1))
	b.ReportAllocs()
	for i := range b.N {
		_ = guess(g, "ap-bot", strconv.Itoa(i))
	}
}
