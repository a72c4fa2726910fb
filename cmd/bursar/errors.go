package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
)

// The exit codes, part of the contract with scripts.
const (
	exitDone    = 0
	exitRefused = 1 // refused, failed or tampered
	exitUsage   = 2
	exitUnknown = 3 // could not tell
)

// failure is an error as people read it.
type failure struct {
	code    int
	text    string
	details []string // what the error consists of, such as the mistakes of a file
	hints   []string // what to do
}

func (f *failure) Error() string { return f.text }

// usage returns the error of a wrong command line.
func usage(text string, hints ...string) error {
	return &failure{code: exitUsage, text: text, hints: hints}
}

// explain finds out what an error means for somebody at a terminal.
func explain(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if _, understood := errors.AsType[*ran](err); !understood {
		return &failure{code: exitUsage, text: err.Error()}
	}
	if p, ok := errors.AsType[*operator.Problem](err); ok {
		return explainProblem(p)
	}
	if m, ok := errors.AsType[*config.Mistakes](err); ok {
		f := &failure{code: exitRefused, text: m.Error()}
		for _, mistake := range m.List {
			f.details = append(f.details, mistake.String())
		}
		return f
	}
	f := &failure{code: exitRefused, text: unwrapped(err)}
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		f.code = exitUnknown
		f.hints = []string{"the server speaks plain HTTP at that address; write http:// instead of https://"}
	case errors.Is(err, context.Canceled):
		f.code, f.text = exitUnknown, "interrupted"
	case errors.Is(err, operator.ErrNoAnswer), errors.Is(err, errNoAnswer):
		f.code = exitUnknown
		f.hints = []string{"check the address, and that the server is running"}
	case errors.Is(err, fs.ErrNotExist):
		f.hints = []string{"check the path"}
	}
	return f
}

// unwrapped is the text of an error of a command, which is all of it.
func unwrapped(err error) string {
	if r, ok := errors.AsType[*ran](err); ok {
		return r.error.Error()
	}
	return err.Error()
}

// explainProblem explains a refusal by the admin API.
func explainProblem(p *operator.Problem) *failure {
	f := &failure{code: exitRefused, text: p.Error(), details: p.Problems}
	switch p.Code() {
	case operator.CodeUnauthenticated:
		f.hints = []string{"the token file must hold an operator token of this server that has not expired"}
	case operator.CodeForbidden:
		f.hints = []string{`ask for a token with another role: "bursar operator token" makes one`}
	case operator.CodeConflict:
		f.hints = []string{"look at what is there now, then try again if it is still wanted"}
		if hint := hintFor(p.Reason); hint != "" {
			f.hints = []string{hint}
		}
	case operator.CodeTooMany:
		f.code = exitUnknown
		f.hints = []string{"check the token; the right one is served at once"}
	case operator.CodeUnavailable:
		f.code = exitUnknown
		if p.RetryAfter > 0 {
			f.hints = []string{fmt.Sprintf("try again in %s", p.RetryAfter)}
		}
		if hint := hintFor(p.Reason); hint != "" {
			f.hints = []string{hint}
		}
	case "":
		f.hints = []string{"the answer did not come from a bursar server; check the address"}
		if p.Status >= http.StatusInternalServerError {
			f.code = exitUnknown
		}
	}
	return f
}

// complain writes a failure to standard error: lower case, without a period.
func (p *program) complain(f *failure) {
	p.say("error", "31", f.text)
	for _, d := range f.details {
		p.say("error", "31", "  "+d)
	}
	for _, h := range f.hints {
		p.say("hint", "36", h)
	}
}

func (p *program) say(label, color, text string) {
	if p.color {
		label = "\x1b[" + color + "m" + label + ":\x1b[0m"
	} else {
		label += ":"
	}
	fmt.Fprintf(p.err, "bursar: %s %s\n", label, clause(text))
}

// clause makes a sentence part of a line: no capital at its start, no period at its end, nothing that a terminal obeys.
func clause(s string) string {
	s = strings.TrimSuffix(harmless(s), ".")
	first, n := utf8.DecodeRuneInString(s)
	second, _ := utf8.DecodeRuneInString(s[n:])
	if unicode.IsUpper(first) && (unicode.IsLower(second) || second == ' ') {
		s = string(unicode.ToLower(first)) + s[n:]
	}
	return s
}

// harmless replaces what a terminal would obey or hide: control and format characters.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '�'
		}
		return r
	}, s)
}
