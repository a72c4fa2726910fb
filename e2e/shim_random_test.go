package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestTenThousandAnswersHoldNoKey: the upstream puts the key into answers at random: in forms and several at once, in
// bodies, headers, hints, the status and trailers, under content codings, and split at any byte. Nothing of it comes
// through, and all else does, byte by byte.
func TestTenThousandAnswersHoldNoKey(t *testing.T) {
	answers := 600
	if harness.Full() {
		answers = 10_000
	}
	eachShim(t, func(t *testing.T, w *shimWorld) {
		token := w.token(t, "legacy")
		var next, masked atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				c, err := raw.Open(w.Shim)
				if err != nil {
					t.Error(err)
					return
				}
				for seed := next.Add(1) - 1; seed < int64(answers) && !t.Failed(); seed = next.Add(1) - 1 {
					p := upstream.NewPlan(uint64(seed), acmeKey)
					_, _ = io.WriteString(c.Conn, w.request(token, "legacy", "GET", fmt.Sprintf("/random/%d", seed), ""))
					reply, err := c.Reply("GET")
					if err != nil {
						t.Errorf("%s: %v", p.What, err)
						return
					}
					w.clean(t, p.What, reply)
					masked.Add(int64(asPlanned(t, p, reply)))
				}
				_ = c.Close()
			})
		}
		all.Wait()
		if n := masked.Load(); n < int64(answers)*20 {
			t.Errorf("only %d bytes were masked", n)
		}
	})
}

// asPlanned fails the test unless an answer is as planned but for stars where the key was. It returns how many.
func asPlanned(t *testing.T, p upstream.Plan, reply *raw.Reply) (stars int) {
	t.Helper()
	if p.Coding == "br" || p.Coding == "zstd" { // which nobody asked for, and nobody here can look into
		problem(t, p.What, reply, 502, "unscrubbable")
		return 0
	}
	if reply.Status != p.Status || !reply.Whole || len(reply.Body) != len(p.Plain) || len(reply.Interim) > 0 {
		t.Errorf("%s: %d, %d bytes of %d, whole %v", p.What, reply.Status, len(reply.Body), len(p.Plain), reply.Whole)
		return 0
	}
	planted := 0
	for _, text := range p.Planted {
		planted += len(text)
	}
	for i, c := range reply.Body {
		if c == p.Plain[i] {
			continue
		}
		if stars++; c != '*' {
			t.Errorf("%s: byte %d became %q", p.What, i, c)
		}
	}
	if stars == 0 || stars > planted {
		t.Errorf("%s: %d bytes are masked, %d were planted", p.What, stars, planted)
	}
	if len(p.Trailer) > 0 != (len(reply.Trailer) > 0) || bytes.Contains(reply.Raw, []byte("Early")) {
		t.Errorf("%s: the trailer is %v", p.What, reply.Trailer)
	}
	return stars
}
