// Package audittest holds events against their published schemas, for the tests of every room that records or reads
// them.
package audittest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bursar-sts/bursar/docs/events"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Check fails the test unless the claims are those of one event of a published type, as its schema describes them.
func Check(t testing.TB, claims []byte) {
	t.Helper()
	if err := Validate(claims); err != nil {
		t.Errorf("an event is not as its schema describes it: %v\n%s", err, claims)
	}
}

// CheckLog fails the test for each event of a log that is not as its schema describes it. Call it when those who write
// the log have ended.
func CheckLog(t testing.TB, l *audit.Log, id ledger.Tenant) {
	t.Helper()
	for from := int64(0); ; {
		page, err := l.Read(context.Background(), id, from, audit.MaxPage)
		if err != nil {
			t.Errorf("read the log of %s: %v", id, err)
		}
		for _, r := range page {
			Check(t, r.Claims)
		}
		if len(page) < audit.MaxPage {
			return
		}
		from += int64(len(page))
	}
}

// Validate reports why the claims are not those of one event of a published type.
func Validate(claims []byte) error {
	var c struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return fmt.Errorf("read claims: %w", err)
	}
	if len(c.Events) != 1 {
		return fmt.Errorf("%d events in one", len(c.Events))
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(claims))
	if err != nil {
		return fmt.Errorf("read claims: %w", err)
	}
	for uri := range c.Events {
		name, ok := strings.CutPrefix(uri, "urn:bursar:event:")
		if !ok {
			return fmt.Errorf("%s is no event of ours", uri)
		}
		s, err := schema(strings.Replace(name, ":", ".", 1))
		if err != nil {
			return err
		}
		if err := s.Validate(value); err != nil {
			return err
		}
	}
	return nil
}

var compiled sync.Map // *jsonschema.Schema by file name

// schema returns that of an event, by name and version, such as "token.exchange.v1".
func schema(name string) (*jsonschema.Schema, error) {
	if s, ok := compiled.Load(name); ok {
		return s.(*jsonschema.Schema), nil
	}
	text, err := events.Schemas.ReadFile(name + ".schema.json")
	if err != nil {
		return nil, fmt.Errorf("the event has no schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read schema %s: %w", name, err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	url := "urn:bursar:schema:" + name
	if err := c.AddResource(url, value); err != nil {
		return nil, fmt.Errorf("add schema %s: %w", name, err)
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("compile schema %s: %w", name, err)
	}
	compiled.Store(name, s)
	return s, nil
}
