package openbao

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/openbao/openbao/api/v2"
	"golang.org/x/sync/singleflight"
)

// The methods of a login.
const (
	Token      = "token"
	JWT        = "jwt"
	Kubernetes = "kubernetes"
)

// Login is how a client proves who it is.
type Login struct {
	Method string // Token, JWT or Kubernetes
	Mount  string // of the auth method; not of Token
	Role   string // likewise
	// Credential returns the token, or the JWT that is given for one. It is asked anew for each login, so that what
	// replaces an expired one is found.
	Credential func() (string, error)
}

func (l Login) check() error {
	switch {
	case l.Credential == nil:
		return errors.New("there is nothing to log in with")
	case l.Method == Token:
		return nil
	case l.Method != JWT && l.Method != Kubernetes:
		return errors.New("the method of the login is unknown")
	case l.Role == "" || !IsPath(l.Mount):
		return errors.New("the login needs a role and the mount of its method")
	}
	return nil
}

// lease is a token and how long it is good for.
type lease struct {
	token     string
	began     time.Time
	ttl       time.Duration // 0 never ends
	renewable bool
}

func (l lease) alive(now time.Time) bool {
	return l.token != "" && (l.ttl == 0 || now.Before(l.began.Add(l.ttl)))
}

// due is when a token is to be renewed: in the middle of its life.
func (l lease) due() time.Time { return l.began.Add(l.ttl / 2) }

// session keeps a token alive.
type session struct {
	c      *Client
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	flight singleflight.Group
	ended  sync.WaitGroup

	mu      sync.Mutex
	current lease
	first   time.Duration // the time that the token was first given; renewed for less than half of it, it is at its end
	watched bool
}

func newSession(c *Client) *session {
	s := &session{c: c}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// token returns a token that is alive, and gets one if there is none.
func (s *session) token(ctx context.Context) (string, error) {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l.alive(s.c.cfg.Now()) {
		return l.token, nil
	}
	return s.get(ctx, l.token, s.logIn)
}

// young is how old a token must be before a refusal makes one doubt it, so that what may not be done does not cause one
// login each.
const young = 10 * time.Second

// another returns another token than one that was refused, if it was refused because it is good for nothing any more.
func (s *session) another(ctx context.Context, refused string) (string, bool) {
	s.mu.Lock()
	l, now := s.current, s.c.cfg.Now()
	s.mu.Unlock()
	switch {
	case l.token != refused:
		return l.token, l.token != ""
	case now.Sub(l.began) < young:
		return "", false
	}
	if _, err := s.lookUp(ctx, refused, now); statusOf(err) == 0 { // it is good, or there is no answer
		return "", false
	}
	token, err := s.get(ctx, refused, s.logIn)
	return token, err == nil && token != refused
}

// get replaces the token that is current, once for all who wait for it.
func (s *session) get(ctx context.Context, current string, how func(context.Context) (lease, error)) (string, error) {
	done := s.flight.DoChan("token", func() (any, error) {
		s.mu.Lock()
		l, now := s.current, s.c.cfg.Now()
		s.mu.Unlock()
		if l.token != current && l.alive(now) { // somebody else was faster
			return l.token, nil
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.c.cfg.Timeout)
		defer cancel()
		next, err := how(ctx)
		if err != nil {
			return "", err
		}
		s.keep(next)
		return next.token, nil
	})
	select {
	case r := <-done:
		token, _ := r.Val.(string)
		return token, r.Err
	case <-ctx.Done():
		return "", failed(reasonAway, "OpenBao cannot be reached.", "log in", errors.New("it took too long"))
	}
}

// keep makes a token the current one, and begins to look after it.
func (s *session) keep(l lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.token != s.current.token {
		s.first = l.ttl
	}
	s.current = l
	if !s.watched && l.ttl > 0 && s.ctx.Err() == nil {
		s.watched = true
		s.ended.Go(s.watch)
	}
}

// watch renews the token, or logs in again, until the session ends. What fails is tried again, while the token lives:
// and then by whoever needs one.
func (s *session) watch() {
	for {
		s.mu.Lock()
		wait := max(s.current.due().Sub(s.c.cfg.Now()), time.Second)
		if s.current.ttl == 0 {
			wait = time.Hour
		}
		s.mu.Unlock()
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.Renew(s.ctx); err != nil && s.ctx.Err() == nil {
			s.c.cfg.Logger.Warn("keep the token of OpenBao alive", "error", err)
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(5 * time.Second):
			}
		}
	}
}

// Renew renews the token if that does any good, and logs in anew otherwise.
func (s *session) Renew(ctx context.Context) error {
	s.mu.Lock()
	l, first := s.current, s.first
	s.mu.Unlock()
	if l.renewable && l.alive(s.c.cfg.Now()) {
		next, err := s.renew(ctx, l)
		if err == nil && next.ttl > first/2 {
			s.keep(next)
			return nil
		}
		if err == nil && s.c.cfg.Login.Method == Token { // as long as it can be
			s.keep(next)
		}
		if Away(err) {
			return err
		}
	}
	next, err := s.logIn(ctx)
	if err == nil {
		s.keep(next)
	}
	return err
}

func (s *session) renew(ctx context.Context, l lease) (lease, error) {
	now := s.c.cfg.Now()
	answer, err := s.c.as(ctx, s.c.cfg.Namespace, l.token, "renew the token",
		func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
			return to.WriteWithContext(ctx, "auth/token/renew-self", nil)
		})
	if err != nil {
		return lease{}, err
	}
	return given(answer, l.token, now)
}

// logIn gets a token: from the auth method, or the one that is configured.
func (s *session) logIn(ctx context.Context) (lease, error) {
	login, now := s.c.cfg.Login, s.c.cfg.Now()
	credential, err := login.Credential()
	credential = strings.TrimSpace(credential)
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if err == nil && (credential == "" || strings.ContainsFunc(credential, odd)) {
		err = errors.New("it is not one word of printable ASCII")
	}
	if err != nil {
		return lease{}, failed(reasonRefused, "The credential for OpenBao cannot be read.", "read the credential", err)
	}
	if login.Method == Token {
		return s.lookUp(ctx, credential, now)
	}
	what := fmt.Sprintf("log in as %s at auth/%s", login.Role, login.Mount)
	answer, err := s.c.as(ctx, s.c.cfg.Namespace, "", what,
		func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
			return to.WriteWithContext(ctx, "auth/"+login.Mount+"/login",
				map[string]any{"role": login.Role, "jwt": credential})
		})
	if err != nil {
		return lease{}, err
	}
	return given(answer, "", now)
}

// lookUp finds out how long a token is good for.
func (s *session) lookUp(ctx context.Context, token string, now time.Time) (lease, error) {
	answer, err := s.c.as(ctx, s.c.cfg.Namespace, token, "look up the token",
		func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
			return read(ctx, to, "auth/token/lookup-self")
		})
	if err != nil {
		return lease{}, err
	}
	ttl, known := number(answer, "ttl")
	if !known {
		return lease{}, unexpected("look up the token")
	}
	renewable, _ := answer.Data["renewable"].(bool)
	return lease{token: token, began: now, ttl: time.Duration(ttl) * time.Second, renewable: renewable}, nil
}

// given reads a token that was given, or renewed.
func given(answer *api.Secret, want string, now time.Time) (lease, error) {
	if answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "" ||
		want != "" && answer.Auth.ClientToken != want {
		return lease{}, unexpected("get a token")
	}
	return lease{token: answer.Auth.ClientToken, began: now, renewable: answer.Auth.Renewable,
		ttl: time.Duration(answer.Auth.LeaseDuration) * time.Second}, nil
}

// close ends the session. A token that was got by a login is given back, if that is quick.
func (s *session) close(ctx context.Context) {
	s.mu.Lock() // after which nothing is begun that is to be waited for
	s.cancel()
	s.mu.Unlock()
	s.ended.Wait()
	s.mu.Lock()
	l := s.current
	s.current = lease{}
	s.mu.Unlock()
	if s.c.cfg.Login.Method == Token || !l.alive(s.c.cfg.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = s.c.as(ctx, s.c.cfg.Namespace, l.token, "give the token back", // if not, it expires
		func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
			return to.WriteWithContext(ctx, "auth/token/revoke-self", nil)
		})
}
