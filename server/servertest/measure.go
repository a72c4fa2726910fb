package servertest

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
)

// CPU returns the CPU time, user and system, that this process spends in f.
func CPU(t testing.TB, f func()) time.Duration {
	t.Helper()
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	f()
	return spent() - before
}

// ReportCPU measures f, which does the benchmark's b.N operations, by the clock and in CPU time of the process, and
// reports the latter as cpu-ns/op. On a machine that others use too it says more.
func ReportCPU(b *testing.B, f func()) {
	b.Helper()
	b.ResetTimer()
	spent := CPU(b, f)
	b.StopTimer()
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}

// Issued is the event of an exchange of the usual size: an agent that acts for somebody. The number makes it another
// one.
func Issued(i int) audit.Event {
	return audit.Event{Name: audit.TokenExchange, Txn: fmt.Sprintf("%036d", i), Agent: "client:ap-bot", Body: audit.Body{
		Outcome: audit.Allowed, DecisionID: fmt.Sprintf("%036d", i+1), ClientID: "ap-bot", Method: "client_secret_basic",
		Actor: audit.Actor{Chain: []string{"client:ap-bot", "7xPqT3mZ0kY8sW1nV5bR2cD4fG6hJ9lA0eU3iO7tQxM"}},
		Tool:  "payments", Actions: []string{"refunds.read"}, Requested: []string{"refunds.read"},
		Resource: "https://tools.acme.example/payments",
		Token: audit.Token{JTI: fmt.Sprintf("%036d", i+2), Hash: "Yb2ZkqB1vO5Lr3f7sT9wX0cE4gH6jK8mN1pQ3uV5yAz",
			Expiry: 1790000300, Type: "at+jwt"},
		Subject: audit.Presented{Issuer: "https://login.acme.example", JTI: fmt.Sprintf("%036d", i+3),
			Hash: "pQ3uV5yAzYb2ZkqB1vO5Lr3f7sT9wX0cE4gH6jK8mN1", Alg: "ES256", KeyID: "key-2026-11"},
		Policy: audit.Policy{Revision: "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
			Rules: []string{"ap-bot-refunds"}},
		Request: audit.Request{IP: netip.MustParseAddr("192.0.2.1"), Trace: "0af7651916cd43dd8448eb211c80319c"},
	}}
}
