package shim_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
)

// An agent that knows how a key begins, and has its text repeated at the end of an answer, learns by what is masked
// whether it guessed the next character. It may do that a few times, and not as often as a key has characters.
func TestNobodyGuessesAKeyByItsBeginning(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "item "+strings.TrimPrefix(r.URL.Path, "/v1/refunds/"))
	})
	known, learned := key[:13], 0
	guess := func(next string) (answered, masked bool) {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", w.front.URL+"/shim/t/acme/legacy/v1/refunds/"+known+next, nil)
		r.Header.Set("Authorization", "Bearer "+w.token())
		response, err := http.DefaultClient.Do(r)
		if err != nil { // it was cut
			return false, false
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return err == nil && response.StatusCode == 200, strings.Contains(string(body), "*")
	}
	for i := 13; i < len(key)-3; i++ {
		answered, masked := guess(key[i : i+1])
		if !answered {
			break
		}
		if masked {
			known, learned = known+key[i:i+1], learned+1
		}
	}
	if learned > 3 {
		t.Errorf("%d characters were learned", learned)
	}
	response, _ := w.call(t, w.token(), "GET", "/v1/feed", "")
	if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" {
		t.Errorf("the agent is answered %s then", response.Status)
	}
	response, _ = w.call(t, w.token("client_id", "other-bot", "sub", "client:other-bot"), "GET", "/v1/feed", "")
	if response.StatusCode != 200 {
		t.Errorf("another agent is answered %s", response.Status)
	}
	if got := w.uses(t, 1); !slices.Contains(got, "denied limit.guesses legacy-key:1") {
		t.Errorf("recorded %q", got)
	}
}
