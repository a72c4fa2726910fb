package server_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// checker is a resource server that fetches the keys as Cache-Control says, from a process of its own choice, and does
// not ask again for a key that it does not know.
type checker struct {
	w       *servertest.World
	process *servertest.Process

	mu    sync.Mutex
	until time.Time
	keys  jose.JSONWebKeySet
}

var maxAge = regexp.MustCompile(`max-age=(\d+)`)

// check verifies a token's signature with what is published.
func (c *checker) check(compact string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.w.Clock.Now(); !now.Before(c.until) {
		rec := httptest.NewRecorder()
		c.process.Server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/t/acme/jwks.json", nil))
		c.keys = jose.JSONWebKeySet{}
		if err := json.Unmarshal(rec.Body.Bytes(), &c.keys); err != nil {
			return err
		}
		seconds, err := strconv.Atoi(maxAge.FindStringSubmatch(rec.Header().Get("Cache-Control"))[1])
		if err != nil {
			return err
		}
		c.until = now.Add(time.Duration(seconds) * time.Second)
	}
	header, _, err := token.Canonical(compact)
	if err != nil {
		return err
	}
	h, err := token.ParseHeader(header)
	if err != nil {
		return err
	}
	found := c.keys.Key(h.KeyID)
	if len(found) != 1 {
		return &token.Error{Reason: "no published key has the kid " + h.KeyID}
	}
	if _, ok := found[0].Key.(*ecdsa.PublicKey); !ok {
		return &token.Error{Reason: "the key is of another type"}
	}
	return token.CheckSignature(compact, h, found[0])
}

// TestRotationsUnderLoad: while two processes issue, a third one's operator rotates the keys again and again, now and
// then sooner than the next key may sign. Whatever is issued verifies with what a fourth one publishes, when it is
// issued and until it expires, at whoever fetches the keys no more often than they may be kept.
func TestRotationsUnderLoad(t *testing.T) {
	rotations := 10
	if storagetest.Full() {
		rotations = 100
	}
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) { rotateUnderLoad(t, w, rotations) })
}

func rotateUnderLoad(t *testing.T, w *servertest.World, rotations int) {
	wanted := rotations
	w.Create(servertest.Acme())
	issuers, operator, publisher := []*servertest.Process{w.Process, w.Start()}, w.Start(), w.Start()
	checkers := []*checker{{w: w, process: publisher}, {w: w, process: publisher}, {w: w, process: operator}}
	var issued atomic.Int64
	var mu sync.Mutex
	alive := map[string]time.Time{} // with their expiry
	kids := map[string]bool{}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				compact := exchangeOver(t, w, issuers[worker%2])
				if compact == "" {
					return
				}
				if err := checkers[i%len(checkers)].check(compact); err != nil {
					t.Errorf("a fresh token: %v", err)
					return
				}
				mu.Lock()
				alive[compact] = expiryOf(compact)
				kids[compact[:strings.IndexByte(compact, '.')]] = true
				mu.Unlock()
				issued.Add(1)
			}
		})
	}
	await := func(more int64) {
		for enough := issued.Load() + more; issued.Load() < enough && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	for turn := 0; rotations > 0 && !t.Failed(); turn++ {
		await(5)
		rotations -= rotate(t, w, operator)
		await(5)
		mu.Lock()
		for compact, until := range alive {
			if !w.Clock.Now().Before(until) {
				delete(alive, compact)
				continue
			}
			for _, c := range checkers {
				if err := c.check(compact); err != nil {
					t.Errorf("a token that lives: %v", err)
				}
			}
		}
		mu.Unlock()
		w.Clock.Advance(time.Duration(turn%4) * keys.JWKSMaxAge / 2)
	}
	close(stop)
	load.Wait()
	if len(kids) < wanted/2 {
		t.Errorf("%d keys signed in %d rotations", len(kids), wanted)
	}
}

// rotate changes the keys as an operator does, and returns how many rotations that was: none if one is under way.
func rotate(t *testing.T, w *servertest.World, p *servertest.Process) int {
	t.Helper()
	v, err := p.Directory.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	put, gone, err := v.Ring.Rotate(keys.ES256, p.Directory.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(put) == 0 {
		return 0
	}
	w.Commit("acme", ledger.Change{Expect: v.Revision, Put: put, Delete: gone})
	return 1
}

// exchangeOver gets a token from a process.
func exchangeOver(t *testing.T, w *servertest.World, p *servertest.Process) string {
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {w.Workload("ap-bot")},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {"payments"}}
	r := httptest.NewRequest(http.MethodPost, "/t/acme/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	p.Server.ServeHTTP(rec, r)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
		t.Errorf("status %d %s", rec.Code, rec.Body)
		return ""
	}
	return answer.Token
}

func expiryOf(compact string) time.Time {
	_, payload, err := token.Canonical(compact)
	if err != nil {
		return time.Time{}
	}
	claims, err := token.Parse(payload)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(claims.Expiry, 0)
}
