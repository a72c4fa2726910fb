package inject

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// tokens are the access tokens that were got, one for each secret and way of asking: that of the version which asked
// last. Of those who want the same at once, one asks. The zero value has none.
type tokens struct {
	mu   sync.Mutex
	held map[key]*holder
}

// key says whose token it is, and for what.
type key struct {
	tenant ledger.Tenant
	secret string
	how    string // the configuration, in JSON
}

type token struct {
	text  string
	until time.Time
}

// holder is the place of one token.
type holder struct {
	ref     vault.Ref // of the version that got it, or is getting it
	token   token
	dropped time.Time // when one was last dropped
	asking  *asking   // nil if nobody asks
}

// asking is a request that is under way. done is closed when token and err are set.
type asking struct {
	done  chan struct{}
	token token
	err   error
}

func tokenKey(t ledger.Tenant, how *tools.OAuth2, ref vault.Ref) key {
	text, err := json.Marshal(how)
	if err != nil { // strings alone
		panic(err)
	}
	return key{t, ref.Name, string(text)}
}

// get returns a token that is good for a moment longer, asking for it if there is none. Who waits for another's request
// leaves when ctx ends; the request goes on, for those who come after.
func (ts *tokens) get(ctx context.Context, k key, ref vault.Ref, now func() time.Time,
	ask func(context.Context) (token, error),
) (string, error) {
	a, text := ts.join(ctx, k, ref, now(), ask)
	if a == nil {
		return text, nil
	}
	select {
	case <-a.done:
		return a.token.text, a.err
	case <-ctx.Done():
		return "", fault.Wrap(fault.Unavailable, "upstream.token_unreachable", "", ctx.Err())
	}
}

// join returns the token that is held, or the request that will bring one.
func (ts *tokens) join(ctx context.Context, k key, ref vault.Ref, now time.Time,
	ask func(context.Context) (token, error),
) (*asking, string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	h := ts.held[k]
	if h == nil || h.ref != ref {
		h = &holder{ref: ref}
		ts.keep(k, h, now)
	}
	switch {
	case now.Before(h.token.until):
		return nil, h.token.text
	case h.asking != nil:
		return h.asking, ""
	}
	a := &asking{done: make(chan struct{})}
	h.asking = a
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		defer func() {
			ts.mu.Lock()
			h.token, h.asking = a.token, nil
			ts.mu.Unlock()
			close(a.done)
		}()
		a.token, a.err = ask(ctx)
	}()
	return a, ""
}

// most is how many holders there are before those are given up that hold nothing.
const most = 1024

func (ts *tokens) keep(k key, h *holder, now time.Time) {
	if ts.held == nil {
		ts.held = make(map[key]*holder)
	}
	if len(ts.held) >= most {
		for other, h := range ts.held {
			if h.asking == nil && !now.Before(h.token.until) {
				delete(ts.held, other)
			}
		}
	}
	ts.held[k] = h
}

// pause is how often a token can be dropped: an upstream that refuses every token must not make its token endpoint be
// asked with every call.
const pause = 10 * time.Second

// drop forgets a version's token.
func (ts *tokens) drop(k key, ref vault.Ref, now time.Time) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if h := ts.held[k]; h != nil && h.ref == ref && now.Sub(h.dropped) >= pause {
		h.token, h.dropped = token{}, now
	}
}
