package attack

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// watched is what was seen in all answers of the token endpoint.
type watched struct {
	refusals int // that have been looked at
	grants   int
	failing  []string // requests that made the server break down
	codes    []string // refusals in other words than expected
	shape    []string // refusals that are not JSON of RFC 6749 §5.2
	illegal  []string // descriptions with characters that they must not have
	echo     []string // answers that repeat a token or a secret
	stored   []string // grants that may be stored
	kept     []string // refusals that may be stored
	pragma   int      // grants without Pragma: no-cache
}

// judged counts a refusal that a check expected.
func (w *watched) judged(id, sent string, expected want, a *answer) {
	about := fmt.Sprintf("%s, %s: %s", id, sent, a.got())
	switch {
	case a.failed != "" || a.status >= http.StatusInternalServerError:
		w.failing = append(w.failing, about)
	case !expected.met(a):
		w.codes = append(w.codes, about+" instead of "+expected.String())
	}
}

// watch looks at an answer, whatever it is about.
func (s *suite) watch(r *request, a *answer) {
	w := &s.watched
	if r.method != http.MethodPost || r.url != s.server.Token {
		return
	}
	store := strings.Contains(strings.ToLower(a.header.Get("Cache-Control")), "no-store")
	if a.issued() {
		w.grants++
		if !store {
			w.stored = append(w.stored, "a grant with Cache-Control: "+shown(a.header.Get("Cache-Control")))
		}
		if !strings.EqualFold(a.header.Get("Pragma"), "no-cache") {
			w.pragma++
		}
		return
	}
	if a.status < 400 || a.status == http.StatusMethodNotAllowed {
		return
	}
	w.refusals++
	if !store {
		w.kept = append(w.kept, "a refusal: "+a.got())
	}
	if media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); media != "application/json" || a.code() == "" {
		w.shape = append(w.shape, fmt.Sprintf("%s, of the type %q", a.got(), shown(media)))
	}
	for _, name := range []string{"error", "error_description"} {
		if strings.ContainsFunc(a.text(name), illegalInError) {
			w.illegal = append(w.illegal, fmt.Sprintf("%s of a %s", name, a.got()))
		}
	}
	for _, name := range []string{"subject_token", "actor_token", "client_assertion", "client_secret"} {
		if value := r.form.Get(name); len(value) >= 12 && strings.Contains(a.body, value) {
			w.echo = append(w.echo, fmt.Sprintf("the body of a %s repeats %s", a.got(), name))
		}
	}
}

// illegalInError reports whether RFC 6749 §5.2 keeps a character out of error and error_description.
func illegalInError(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }
