package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	admin "github.com/bursar-sts/bursar/clients/operator"
)

const words, binary, ndjson = "text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson"

func TestCallsOfALog(t *testing.T) {
	rows := map[string]struct {
		request, media, answer string
		public                 bool
		call                   func(context.Context, *admin.Client) (string, error)
	}{
		"checkpoint": {"/t/acme/log/checkpoint", words, "a\n1\nb\n", false,
			func(ctx context.Context, c *admin.Client) (string, error) { return text(c.Log("acme").Checkpoint(ctx)) }},
		"checkpoint of the platform": {"/log/checkpoint", words, "a\n1\nb\n", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.PlatformLog().Checkpoint(ctx))
			}},
		"tile": {"/t/acme/log/tile/1/x001/234.p/7", binary, "\x00\xff", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Tile(ctx, 1, 1234, 7))
			}},
		"full bundle": {"/t/acme/log/tile/entries/000", binary, "\x00\x01x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Bundle(ctx, 0, 256))
			}},
		"keys": {"/t/acme/log/keys", words, "x", true,
			func(ctx context.Context, c *admin.Client) (string, error) { return text(c.Log("acme").Keys(ctx)) }},
		"verifier keys": {"/log/vkey", words, "b+1+c\na+2+d\n", true,
			func(ctx context.Context, c *admin.Client) (string, error) {
				all, err := c.PlatformLog().VerifierKeys(ctx)
				return strings.Join(all, "\n") + "\n", err
			}},
		"proof by index": {"/t/acme/log/proof?index=7", words, "x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Proof(ctx, admin.EventID{Index: 7}))
			}},
		"proof by token": {"/t/acme/log/proof?jti=a%26b", words, "x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Proof(ctx, admin.EventID{JTI: "a&b"}))
			}},
		"proof by decision": {"/t/acme/log/proof?decision=d", words, "x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Proof(ctx, admin.EventID{Decision: "d"}))
			}},
		"consistency": {"/t/acme/log/consistency?from=3", words, "x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Consistency(ctx, 3, 0))
			}},
		"consistency to a size": {"/t/acme/log/consistency?from=3&to=9", words, "x", false,
			func(ctx context.Context, c *admin.Client) (string, error) {
				return text(c.Log("acme").Consistency(ctx, 3, 9))
			}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			media := row.media
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.URL.String(); r.Method != "GET" || got != row.request {
					t.Errorf("sent %s %s, want %s", r.Method, got, row.request)
				}
				if got := r.Header.Get("Authorization"); (got == "") != row.public {
					t.Errorf("sent with %q", got)
				}
				answer(w, media, 200, row.answer)
			})
			if got, err := row.call(t.Context(), c); err != nil || got != row.answer {
				t.Errorf("answered %q, %v", got, err)
			}
			media = "text/html"
			if _, err := row.call(t.Context(), c); !errors.Is(err, admin.ErrNoAnswer) {
				t.Errorf("a page is %v", err)
			}
		})
	}
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	for name, call := range map[string]func() ([]byte, error){
		"a tenant that is none":  func() ([]byte, error) { return c.Log("../x").Checkpoint(t.Context()) },
		"a level that is none":   func() ([]byte, error) { return c.Log("acme").Tile(t.Context(), 8, 0, 1) },
		"a width that is none":   func() ([]byte, error) { return c.Log("acme").Tile(t.Context(), 0, 0, 257) },
		"an index that is none":  func() ([]byte, error) { return c.Log("acme").Bundle(t.Context(), -1, 1) },
		"a bundle of no entries": func() ([]byte, error) { return c.Log("acme").Bundle(t.Context(), 0, 0) },
	} {
		if _, err := call(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func text(b []byte, err error) (string, error) { return string(b), err }

// teller answers a request.
type teller func(http.ResponseWriter)

// script answers one connection after the other; the last answer is repeated.
func script(t *testing.T, sent *[]string, answers ...teller) *admin.Client {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/t/acme/log/events" || !strings.Contains(r.Header.Get("Accept"), ndjson) {
			t.Errorf("sent %s, %v", r.URL, r.Header)
		}
		*sent = append(*sent, r.URL.RawQuery)
		answers[min(len(*sent), len(answers))-1](w)
	})
}

func tells(lines ...string) teller {
	return func(w http.ResponseWriter) { answer(w, ndjson, 200, strings.Join(lines, "\n")+"\n") }
}

func event(n int) string { return fmt.Sprintf(`{"index":%d,"set":"s%d","claims":{"n":%d}}`, n, n, n) }

func cursor(n int) string { return fmt.Sprintf(`{"next":%d}`, n) }

// cuts tells something and breaks the connection.
func cuts(lines ...string) teller {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", ndjson)
		for _, l := range lines {
			fmt.Fprintln(w, l)
		}
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func refuses(status int, code string) teller {
	return func(w http.ResponseWriter) {
		answer(w, "application/problem+json", status, fmt.Sprintf(`{"type":"urn:bursar:problem:%s","first":512}`, code))
	}
}

// drain reads a stream to its end, or to so many events.
func drain(ctx context.Context, s *admin.Stream, most int) (indexes []int64, err error) {
	for e, err := range s.Events(ctx) {
		if err != nil {
			return indexes, err
		}
		if want := fmt.Sprintf(`{"n":%d}`, e.Index); string(e.Claims) != want || e.SET != fmt.Sprintf("s%d", e.Index) {
			return indexes, fmt.Errorf("event %d is %s, %s", e.Index, e.SET, e.Claims)
		}
		if indexes = append(indexes, e.Index); len(indexes) == most {
			break
		}
	}
	return indexes, nil
}

func TestAFollowerGoesOnWhereItWas(t *testing.T) {
	var sent []string
	var lost []error
	c := script(t, &sent, cuts(event(8), event(10)), refuses(503, "unavailable"), tells(event(11), cursor(15)),
		tells(`{"problem":{"type":"urn:bursar:problem:unavailable","status":503}}`), cuts(), tells(cursor(20), event(21)))
	s := c.Log("acme").Stream(admin.StreamQuery{After: -3, Follow: true, Limit: 4, Tool: "payments",
		Lost: func(err error) { lost = append(lost, err) }})
	got, err := drain(t.Context(), s, 100)
	if err != nil || !slices.Equal(got, []int64{8, 10, 11, 21}) || s.Next() != 22 {
		t.Errorf("events %v, then %d, %v", got, s.Next(), err)
	}
	want := []string{"after=-3&follow=true&limit=4&tool=payments", "after=11&follow=true&limit=2&tool=payments",
		"after=11&follow=true&limit=2&tool=payments", "after=15&follow=true&limit=1&tool=payments",
		"after=15&follow=true&limit=1&tool=payments", "after=15&follow=true&limit=1&tool=payments"}
	if !slices.Equal(sent, want) {
		t.Errorf("sent %q", sent)
	}
	if len(lost) != 4 {
		t.Errorf("lost %v", lost)
	}
}

func TestAStreamThatEnds(t *testing.T) {
	page := func(w http.ResponseWriter) { answer(w, "text/html", 200, "") }
	ended := `{"problem":{"type":"urn:bursar:problem:unauthenticated","status":401}}`
	for name, row := range map[string]struct {
		answers []teller
		follow  bool
		events  int
		check   func(error) bool
	}{
		"whole":           {[]teller{tells(event(0), event(1), cursor(2))}, false, 2, isNil},
		"of nothing":      {[]teller{tells(cursor(0))}, false, 0, isNil},
		"cut":             {[]teller{cuts(event(0))}, false, 1, noAnswer},
		"not whole":       {[]teller{tells(event(0))}, false, 1, noAnswer},
		"repeating":       {[]teller{tells(event(0), event(0), cursor(1))}, false, 1, noAnswer},
		"going back":      {[]teller{tells(event(4), cursor(3))}, false, 1, noAnswer},
		"of garbage":      {[]teller{tells("x")}, false, 0, noAnswer},
		"of empty things": {[]teller{tells("{}")}, false, 0, noAnswer},
		"a page":          {[]teller{page}, false, 0, noAnswer},
		"gone":            {[]teller{refuses(410, "gone")}, false, 0, gone},
		"away at first":   {[]teller{refuses(503, "unavailable")}, true, 0, isProblem},
		"forbidden later": {[]teller{tells(event(0), cursor(1)), refuses(403, "forbidden")}, true, 1, isProblem},
		"with a problem":  {[]teller{tells(event(0), ended)}, true, 1, isProblem},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []string
			s := script(t, &sent, row.answers...).Log("acme").Stream(admin.StreamQuery{Follow: row.follow})
			got, err := drain(t.Context(), s, 100)
			if len(got) != row.events || !row.check(err) {
				t.Errorf("events %v, %v", got, err)
			}
		})
	}
}

func isNil(err error) bool    { return err == nil }
func noAnswer(err error) bool { return errors.Is(err, admin.ErrNoAnswer) }
func isProblem(err error) bool {
	_, ok := errors.AsType[*admin.Problem](err)
	return ok
}
func gone(err error) bool {
	p, ok := errors.AsType[*admin.Problem](err)
	return ok && p.Code() == admin.CodeGone && p.First == 512
}

// TestAStreamCanBeGoneOnWith is broken off by its reader and goes on, without a gap or an event twice.
func TestAStreamCanBeGoneOnWith(t *testing.T) {
	var sent []string
	c := script(t, &sent, tells(event(0), event(1), event(2), cursor(3)), tells(event(2), cursor(3)))
	s := c.Log("acme").Stream(admin.StreamQuery{})
	first, err := drain(t.Context(), s, 2)
	if err != nil || !slices.Equal(first, []int64{0, 1}) || s.Next() != 2 {
		t.Errorf("events %v, then %d, %v", first, s.Next(), err)
	}
	if rest, err := drain(t.Context(), s, 2); err != nil || !slices.Equal(rest, []int64{2}) || sent[1] != "after=2" {
		t.Errorf("events %v, %v after %q", rest, err, sent)
	}
}

func TestAFollowerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ndjson)
		fmt.Fprintln(w, event(0))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c.HTTP.Timeout = time.Nanosecond // is for calls that end
	s := c.Log("acme").Stream(admin.StreamQuery{Follow: true})
	var last error
	for e, err := range s.Events(ctx) {
		if last = err; err == nil && e.Index == 0 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
}

func TestWhatAStreamAsksFor(t *testing.T) {
	var sent []string
	c := script(t, &sent, tells(cursor(0)))
	at := time.Unix(1700000000, 5)
	for q, want := range map[*admin.StreamQuery]string{
		{}:                                  "after=0",
		{After: admin.All, Uncovered: true}: "after=-9007199254740992&uncovered=true",
		{Events: []string{"token", "admin.client"}, Outcome: "denied", Client: "c", JTI: "j", Decision: "d", Txn: "t",
			Subject: "s:a", Since: at, Until: at}: "after=0&client=c&decision=d&event=token&event=admin.client&jti=j&" +
			"outcome=denied&since=1700000000&subject=s%3Aa&txn=t&until=1700000000",
	} {
		sent = nil
		if _, err := drain(t.Context(), c.Log("acme").Stream(*q), 9); err != nil || len(sent) != 1 || sent[0] != want {
			t.Errorf("sent %q, %v; want %s", sent, err, want)
		}
	}
}
