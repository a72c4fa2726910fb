// Package attack tests an OAuth 2.0 Token Exchange server (RFC 8693) from outside, as an attacker or a careless client
// would: it sends requests that differ in one thing from a good one, and holds each answer against what the
// specifications, or caution, demand. It knows nothing of the server but its URLs.
//
// A refusal proves something only if the same request without the defect is granted. The good request therefore comes
// first, and again after each check that expects refusals.
package attack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// Config says what to attack; URL and Profile are required.
type Config struct {
	URL     string // issuer, or token endpoint of a server without metadata
	Profile *Profile
	// Only are the checks to run, all if empty; Except are those to leave out. Both are ids, rows or numbers, with * as
	// in file names.
	Only, Except []string

	Strict  bool                    // observations fail the run too
	Timeout time.Duration           // of one request; 10 s if zero
	Version string                  // of this program, for the report
	Env     func(string) string     // where the profile's secrets may be; nothing is there if nil
	Now     func() time.Time        // time.Now if nil
	Each    func(r findings.Result) // called with every result as it comes, if not nil
	// Pause waits as a rate limit demands, and reports whether it could; a timer if nil.
	Pause func(context.Context, time.Duration) bool
}

// Unable is the error of a run that could not begin: the server is not reached, or the good request gets no token.
type Unable struct{ Reason, Hint string }

func (u *Unable) Error() string { return u.Reason }

// suite is one run.
type suite struct {
	config  Config
	profile *Profile
	http    *http.Client
	server  server

	client, other, reader, ungranted *client
	disabled, foreign                *client
	subject                          *source
	suspects                         map[string]*source // that the profile names under refused
	delegation                       *delegation        // nil if the profile has none
	again                            againBase

	listener *listener
	watched  watched
	requests int
	limited  int // answers of a rate limit
}

// delegation is what an exchange with an actor token needs.
type delegation struct {
	client         *client
	subject, actor *source
	otherActor     *source
	request        Request
	works          bool
	reason         string // why it does not
}

// againBase is the exchange of the server's own token.
type againBase struct {
	client  *client
	request Request
	works   bool
	reason  string
}

// Run attacks. Its error is an *Unable, that of the context, or ErrNoCheck. But for the last the report is there
// all the same: a run that could not begin, or did not end, has an error for a result that says why.
func Run(ctx context.Context, c Config) (*findings.Report, error) {
	s := newSuite(c)
	chosen, err := choose(c.Only, c.Except)
	if err != nil {
		return nil, err
	}
	r := &findings.Report{Tool: "bursar attack", Version: c.Version, Target: c.URL, Profile: c.Profile.name,
		Began: s.now().UTC().Truncate(time.Second), Strict: c.Strict}
	if err = s.prepare(ctx); err == nil {
		err = s.runAll(ctx, chosen, r)
	}
	s.listener.close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		last := stopped(err)
		r.Stopped, r.Results = last.Reason, append(r.Results, last)
	}
	r.Endpoint = cmp.Or(s.server.Token, c.URL)
	r.Requests, r.Seconds = s.requests, s.now().Sub(r.Began).Seconds()
	r.Count()
	return r, err
}

// runAll runs checks until ctx ends.
func (s *suite) runAll(ctx context.Context, chosen []check, r *findings.Report) error {
	for _, check := range chosen {
		result := s.run(ctx, check)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Results = append(r.Results, result)
		if s.config.Each != nil {
			s.config.Each(result)
		}
	}
	return nil
}

// stopped is the result of a run that ended before its checks.
func stopped(err error) findings.Result {
	result := findings.Result{Verdict: findings.Error, Reason: "it was interrupted",
		Check: is("control.run", "", findings.Must, findings.High, "the run begins, and comes to its end", "",
			"Run it again.")}
	if u, ok := errors.AsType[*Unable](err); ok {
		result.Reason, result.Advice = u.Reason, u.Hint
	}
	return result
}

func newSuite(c Config) *suite {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pause == nil {
		c.Pause = pause
	}
	if c.Env == nil {
		c.Env = func(string) string { return "" }
	}
	return &suite{config: c, profile: c.Profile, http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *suite) now() time.Time { return s.config.Now() }

func (s *suite) pause(ctx context.Context, d time.Duration) bool { return s.config.Pause(ctx, d) }

// Checks are all checks, in the order in which they run.
func Checks() []findings.Check {
	var list []findings.Check
	for _, c := range all() {
		list = append(list, c.Check)
	}
	return list
}

// all are the checks. Those that may lock a client out come last, and behind them those that sum up.
func all() []check {
	return slices.Concat(controlChecks(), metadataChecks(), formChecks(), grantChecks(), clientChecks(),
		assertionChecks(), parameterChecks(), tokenChecks(subjectRole), tokenChecks(actorRole), tokenChecks(ownRole),
		refusedChecks(), delegationChecks(), targetChecks(), scopeChecks(), responseChecks(), againChecks(),
		introspectionChecks(), revocationChecks(), floodChecks(), errorChecks())
}

// ErrNoCheck is the error of a name that no check goes by.
var ErrNoCheck = errors.New("no check goes by that name")

// Named reports, as ErrNoCheck, a name that no check goes by.
func Named(names []string) error {
	_, err := choose(names, nil)
	return err
}

// choose returns the checks that are asked for.
func choose(only, except []string) ([]check, error) {
	checks := all()
	for _, pattern := range slices.Concat(only, except) {
		if !slices.ContainsFunc(checks, func(c check) bool { return c.named(pattern) }) {
			return nil, fmt.Errorf("%w: %s", ErrNoCheck, pattern)
		}
	}
	return slices.DeleteFunc(checks, func(c check) bool {
		return len(only) > 0 && !slices.ContainsFunc(only, c.named) || slices.ContainsFunc(except, c.named)
	}), nil
}

// named reports whether the check goes by a name: its id or one of its references.
func (c check) named(pattern string) bool {
	for _, name := range append([]string{c.ID}, c.Refs...) {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}
