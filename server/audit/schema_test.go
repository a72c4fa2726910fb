package audit

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run TestTheSchemasAreCurrent -update .

var update = flag.Bool("update", false, "write docs/events.md and the schemas in docs/events")

const docs = "../../docs"

// document describes the claims of the events of a kind.
func (k *kind) document() object {
	uri := "urn:bursar:event:" + k.name + ":v1"
	properties := object{
		"iss": object{"type": "string", "format": "uri", "description": "The issuer URL of the tenant; of the " +
			"platform's log, the base URL."},
		"aud": object{"type": "string", "pattern": "/log$", "description": "iss and `/log`: the log that it belongs to."},
		"toe": number("When it happened, by the server's clock, Unix seconds.").schema,
		"iat": number("When it was put into its place, by the server's clock, Unix seconds.").schema,
		"jti": id("The id of the record.").schema,
		"wid": id("The writer: one start of one server.").schema,
		"wsn": number("The number of the event among those of its writer in this log, from 1 without gaps.").schema,
		"events": object{"type": "object", "additionalProperties": false, "required": []string{uri},
			"properties": object{uri: k.bodySchema()}},
	}
	required := []string{"iss", "aud", "toe", "iat", "jti", "wid", "wsn", "events"}
	if k.of == ofAgent {
		properties["txn"] = id("The run: it ties the events and the tokens of one task together.").schema
		properties["sub_id"] = subjectID
		required = append(required, "txn", "sub_id")
	}
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:bursar:schema:event:" + k.name + ":v1",
		"title": k.name, "description": k.when,
		"type": "object", "additionalProperties": false, "required": required, "properties": properties,
	}
}

// subjectID describes sub_id (RFC 9493 §3.2.4 and §3.2.7).
var subjectID = object{"description": "The agent.", "oneOf": []any{
	object{"type": "object", "additionalProperties": false, "required": []string{"format", "id"},
		"properties": object{"format": object{"const": "opaque"}, "id": text("").schema}},
	object{"type": "object", "additionalProperties": false, "required": []string{"format", "uri"},
		"properties": object{"format": object{"const": "uri"}, "uri": text("").schema}},
}}

func (k *kind) bodySchema() object {
	members := k.members()
	body := objectOf("", members)
	body["properties"].(object)["outcome"] = enum("How it ended.", k.ends()...).schema
	body["required"] = append([]string{"outcome"}, body["required"].([]string)...)
	var whenAllowed []string
	for _, m := range members {
		if m.mark == '!' {
			whenAllowed = append(whenAllowed, m.name)
		}
	}
	then := object{}
	if whenAllowed != nil {
		then["required"] = whenAllowed
	}
	if expr := k.reasonPattern(); expr != "" {
		body["properties"].(object)["reason"] = pattern("Why, as a code.", expr, "").schema
		then["properties"] = object{"reason": false}
		body["if"] = object{"properties": object{"outcome": object{"const": string(Allowed)}}}
		body["then"], body["else"] = then, object{"required": []string{"reason"}}
	}
	return body
}

// members are those of the body.
func (k *kind) members() []spec {
	members := specs(k.body)
	if k.of == ofAgent {
		members = append([]spec{{name: "agent"}}, members...)
	}
	return members
}

// ends are the outcomes of a kind, with that of an event that follows.
func (k *kind) ends() []Outcome {
	var all []Outcome
	for word := range strings.FieldsSeq(k.outcomes) {
		all = append(all, Outcome(word))
	}
	if k.waits != "" && !slices.Contains(all, Failed) {
		all = append(all, Failed)
	}
	return all
}

// reasonPattern is what the reasons of a kind look like; empty if it is always allowed.
func (k *kind) reasonPattern() string {
	codes := strings.Fields(k.reasons)
	if k.waits != "" {
		codes = append(codes, strings.Fields(notDone)...)
	}
	if len(codes) == 0 {
		return ""
	}
	for i, code := range codes {
		family, is := strings.CutSuffix(code, "*")
		if codes[i] = regexp.QuoteMeta(family); is {
			codes[i] += "[a-z0-9._-]{1,64}"
		}
	}
	return "^(" + strings.Join(codes, "|") + ")$"
}

// objectOf describes an object with those members; it always has at least one.
func objectOf(path string, members []spec) object {
	properties, required := object{}, []string{}
	for _, m := range members {
		if m.parts != nil {
			properties[m.name] = objectOf(path+m.name+".", m.parts)
		} else {
			properties[m.name] = formOf(path + m.name).schema
		}
		if m.mark == 0 {
			required = append(required, m.name)
		}
	}
	return object{"type": "object", "additionalProperties": false, "minProperties": 1, "required": required,
		"properties": properties}
}

// files are all that is generated, by name below docs.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"events.md": page(t)}
	for i := range kinds {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(kinds[i].document()); err != nil {
			t.Fatal(err)
		}
		all["events/"+kinds[i].name+".v1.schema.json"] = b.Bytes()
	}
	return all
}

func TestTheSchemasAreCurrent(t *testing.T) {
	want := files(t)
	old, err := filepath.Glob(filepath.Join(docs, "events", "*.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if want["events/"+filepath.Base(path)] != nil {
			continue
		}
		if !*update {
			t.Errorf("%s is of no event", path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range want {
		path := filepath.Join(docs, filepath.FromSlash(name))
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("docs/%s is not what the table of events says; run: go generate ./server/audit (%v)", name, err)
		}
	}
}
