package config

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/scopes"
)

// Audit is what becomes of the logs beside being kept in the store.
type Audit struct {
	// The folder in which the server keeps the newest signed head of each log that it saw, `anchors` beside this file if
	// absent. It must not be on what the store is on, nor be backed up and restored with it: by it the server notices at
	// the next start that the store was rolled back or exchanged.
	Anchors string `yaml:"anchors"`
	// Who signs the heads of all logs too (C2SP tlog-witness). Nothing waits for a witness.
	Witnesses []Witness `yaml:"witnesses"`
	// Where copies of the logs go. A sink is a copy and never the record: nothing waits for one, and one that was away is
	// given later what it missed. Servers that share a Redis share each sink of one name: one of them at a time copies a
	// log to it.
	Sinks []Sink `yaml:"sinks"`
	// How long the logs are kept in the store.
	Retention Retention `yaml:"retention"`
}

// Witness is somebody who signs a head of a log only if it continues the one that he signed before.
type Witness struct {
	// Where the witness is: https, or http on loopback; `/add-checkpoint` is below it. Required.
	URL string `yaml:"url"`
	// The public key of its cosignatures, as C2SP signed-note writes it: `<name>+<hash>+<base64>`. Required.
	Key string `yaml:"key"`
	// The file of the authorities by which its certificate is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
}

// Sink is where copies of the logs go.
type Sink struct {
	// The name under which the store keeps what the sink has had. Required. Under a new name a sink is given the logs from
	// their beginning.
	Name string `yaml:"name"`
	// What the sink is. Required.
	Kind SinkKind `yaml:"kind"`
	// The file of a sink of kind `file`: one line of JSON for each event, at the end of it. It is made with mode 0600
	// where there is none; its folder must exist.
	Path string `yaml:"path"`
	// Where a sink of kind `webhook` or `otlp` is: https, or http on loopback. That of a collector is without `/v1/logs`.
	URL string `yaml:"url"`
	// Headers that the receiver wants, each with the place of its value, as for `master_key`:
	// `{authorization: "file:hook.auth"}`.
	Headers map[string]Source `yaml:"headers"`
	// The file of the authorities by which the receiver's certificate is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
	// The tenants whose logs are copied. Absent: all, and the platform's log. An empty list is no tenant.
	Tenants []string `yaml:"tenants"`
	// Whether the platform's log is copied: `true` also beside `tenants`, `false` also without.
	Platform *bool `yaml:"platform"`
	// The events that are copied, by name, such as `token.exchange`, or by a beginning that ends in a dot, such as
	// `admin.`. Absent: all; then a receiver that sees a gap in the numbers has missed something.
	Events []string `yaml:"events"`
	// What a line of a `file` or of `stdout` holds of an event; `json` if absent.
	Format SinkFormat `yaml:"format"`
}

// defaultAnchors is the folder of the anchors, beside the configuration.
const defaultAnchors = "anchors"

// SinkKind is what a sink is.
type SinkKind string

// The kinds of sinks.
const (
	SinkFile    SinkKind = "file"    // lines in a file
	SinkStdout  SinkKind = "stdout"  // lines on standard output; the server's own log is on standard error
	SinkWebhook SinkKind = "webhook" // each event in a request of its own, as RFC 8935 has it
	SinkOTLP    SinkKind = "otlp"    // log records for an OpenTelemetry collector, OTLP over HTTP
)

// SinkFormat is what a line holds of an event.
type SinkFormat string

// The formats of lines.
const (
	FormatSET  SinkFormat = "set"  // the signed event, which can be verified
	FormatJSON SinkFormat = "json" // its claims, which can be searched
)

// All reports whether the logs of all tenants are copied.
func (s Sink) All() bool { return s.Tenants == nil }

// OfPlatform reports whether the platform's log is copied.
func (s Sink) OfPlatform() bool {
	if s.Platform == nil {
		return s.All()
	}
	return *s.Platform
}

// eventForm is the name of an event, or the beginning of one.
var eventForm = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*\.?$`)

// witnesses checks all witnesses.
func (v *validator) witnesses(all []Witness) {
	places := map[string]bool{}
	for i, w := range all {
		at := fmt.Sprintf("audit.witnesses[%d].", i)
		switch {
		case w.URL == "":
			v.add(at+"url", "is required; it is where heads are sent to, such as https://witness.example")
		case places[w.URL]:
			v.add(at+"url", "is that of another witness")
		default:
			v.check(at+"url", scopes.CheckURL(w.URL, scopes.WithPath))
		}
		places[w.URL] = true
		if _, err := auditor.NewWitness(w.Key); err != nil {
			v.add(at+"key", "must be <name>+<hash>+<base64 of an Ed25519 key>, as the witness publishes it")
		}
	}
}

// sinks checks all sinks, each alone and beside the others.
func (v *validator) sinks(all []Sink) {
	names, places := map[string]bool{}, map[string]bool{}
	for i, s := range all {
		at := fmt.Sprintf("audit.sinks[%d].", i)
		switch {
		case s.Name == "":
			v.add(at+"name", "is required; it is how the sink is known in the store")
		case names[s.Name]:
			v.add(at+"name", "is the name of another sink; the two would be taken for one")
		default:
			v.check(at+"name", scopes.CheckSlug(s.Name))
		}
		names[s.Name] = true
		place := s.Path
		if s.Kind == SinkStdout {
			place = "-"
		} else if place != "" {
			place = filepath.Clean(place)
		}
		if place != "" && places[place] {
			v.add(at+"kind", "writes to the same place as another sink")
		}
		places[place] = true
		v.sink(at, s)
	}
}

// sink checks what belongs to the kind of a sink, and what it is given.
func (v *validator) sink(at string, s Sink) {
	remote, lines := s.Kind == SinkWebhook || s.Kind == SinkOTLP, s.Kind == SinkFile || s.Kind == SinkStdout
	switch {
	case !remote && !lines:
		v.add(at+"kind", "must be file, stdout, webhook or otlp")
		return
	case s.Kind == SinkFile && s.Path == "":
		v.add(at+"path", "is required; it is the file that lines are appended to")
	case s.Kind != SinkFile && s.Path != "":
		v.add(at+"path", "means nothing to a sink of kind "+string(s.Kind)+"; remove it")
	}
	switch {
	case remote && s.URL == "":
		v.add(at+"url", "is required; it is where events are sent to, such as https://siem.example/events")
	case remote:
		v.check(at+"url", scopes.CheckURL(s.URL, scopes.WithPath))
	}
	for _, field := range []struct {
		name  string
		given bool
	}{{"url", s.URL != "" && lines}, {"headers", s.Headers != nil && lines}, {"ca", s.CA != "" && lines},
		{"format", s.Format != "" && remote}} {
		if field.given {
			v.add(at+field.name, "means nothing to a sink of kind "+string(s.Kind)+"; remove it")
		}
	}
	if lines && s.Format != "" && s.Format != FormatSET && s.Format != FormatJSON {
		v.add(at+"format", "must be set or json")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if low := strings.ToLower(name); !isHeader(name) || low == "accept" || strings.HasPrefix(low, "bursar-") {
			v.add(at+"headers."+name, "is not the name of a header that a sink may set")
		}
	}
	v.wanted(at, s)
}

// wanted checks which events a sink is given.
func (v *validator) wanted(at string, s Sink) {
	if len(s.Tenants) == 0 && !s.All() && !s.OfPlatform() {
		v.add(at+"tenants", "is empty, so that nothing is copied; name tenants, leave it out, or add platform: true")
	}
	for i, slug := range s.Tenants {
		v.check(fmt.Sprintf("%stenants[%d]", at, i), scopes.CheckSlug(slug))
	}
	if s.Events != nil && len(s.Events) == 0 {
		v.add(at+"events", "is empty, so that nothing is copied; name events, or leave it out")
	}
	for i, name := range s.Events {
		if !eventForm.MatchString(name) {
			v.add(fmt.Sprintf("%sevents[%d]", at, i), "must be the name of an event, such as token.exchange, or the "+
				"beginning of names, such as admin.")
		}
	}
}

// resolve makes the paths of a sink absolute and fills its defaults.
func (s *Sink) resolve(dir string) {
	s.Path, s.CA = strict.Under(dir, s.Path), strict.Under(dir, s.CA)
	for name, source := range s.Headers {
		s.Headers[name] = source.Under(dir)
	}
	if s.Format == "" && (s.Kind == SinkFile || s.Kind == SinkStdout) {
		s.Format = FormatJSON
	}
}

// Reach is what is needed to talk to somebody else's server.
type Reach struct {
	Headers map[string]string `json:"-"` // with their values
	Roots   *x509.CertPool    `json:"-"` // whom its certificate is trusted by; nil for the system's
}

// Format hides what is inside from every verb of package fmt.
func (Reach) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (Reach) LogValue() slog.Value { return slog.StringValue(redacted) }

// readSinks reads what is needed to reach the sinks, by their names.
func (v *validator) readSinks(all []Sink) map[string]Reach {
	reach := make(map[string]Reach, len(all))
	for i, s := range all {
		reach[s.Name] = v.reach(fmt.Sprintf("audit.sinks[%d]", i), s.Headers, s.CA)
	}
	return reach
}

// readWitnesses reads by whom the witnesses' certificates are trusted, in their order.
func (v *validator) readWitnesses(all []Witness) []Reach {
	reach := make([]Reach, len(all))
	for i, w := range all {
		reach[i] = v.reach(fmt.Sprintf("audit.witnesses[%d]", i), nil, w.CA)
	}
	return reach
}
