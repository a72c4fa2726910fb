package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
)

// field is one member of a JSON object that a Go struct describes.
type field struct {
	name     string
	typ      reflect.Type
	index    []int
	required bool // never absent
}

// fields lists the members of a struct, those of embedded structs among them, in the order of the struct.
func fields(t reflect.Type) []field {
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		all = append(all, field{name: name, typ: f.Type, index: f.Index, required: !strings.Contains(options, "omit")})
	}
	return all
}

// decode reads a JSON object strictly: names are as written in T and occur once, what T requires is there, and nothing
// follows. So are the objects within it that T has structs for. All mistakes come back at once, each with its path.
func decode[T any](body []byte) (T, error) {
	var value T
	problems, err := decodeObject(body, reflect.ValueOf(&value).Elem(), "")
	if err != nil {
		return value, fault.Wrap(fault.InvalidRequest, "body.json", "The body must be one JSON object.", err)
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return value, invalid(problems...)
	}
	return value, nil
}

// invalid is the refusal of a body with mistakes.
func invalid(problems ...string) error {
	f := fault.New(fault.Invalid, "body.members", "The body has mistakes; mend all of them and send it again.")
	f.Problems = problems
	return f
}

// decodeObject reads an object into a struct; path is that of the object, with a dot behind it.
func decodeObject(raw []byte, to reflect.Value, path string) (problems []string, err error) {
	members, twice, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	for _, name := range twice {
		problems = append(problems, path+quote(name)+": is given twice")
	}
	for _, f := range fields(to.Type()) {
		raw, given := members[f.name]
		delete(members, f.name)
		switch {
		case given && string(raw) != "null":
			problems = append(problems, decodeMember(raw, to.FieldByIndex(f.index), path+f.name)...)
		case f.required:
			problems = append(problems, path+f.name+": is required")
		}
	}
	for name := range members {
		problems = append(problems, path+quote(name)+": is not a known member")
	}
	return problems, nil
}

func decodeMember(raw json.RawMessage, to reflect.Value, path string) (problems []string) {
	if t := to.Type(); t.Kind() == reflect.Pointer {
		to.Set(reflect.New(t.Elem()))
		problems, err := decodeObject(raw, to.Elem(), path+".")
		if err != nil {
			return []string{path + ": must be an object"}
		}
		return problems
	}
	if json.Unmarshal(raw, to.Addr().Interface()) != nil {
		return []string{path + ": must be " + jsonType(to.Type())}
	}
	return nil
}

// readObject splits an object into its members, and names those that are given twice.
func readObject(body []byte) (members map[string]json.RawMessage, twice []string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, nil, fmt.Errorf("read object: no opening brace: %w", err)
	}
	members = map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("read object: %w", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, nil, fmt.Errorf("read object: %w", err)
		}
		key := name.(string) // a decoder gives only strings here
		if _, known := members[key]; known {
			twice = append(twice, key)
		}
		members[key] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("read object: %w", err)
	}
	if d.More() || d.InputOffset() < int64(len(bytes.TrimRight(body, " \t\r\n"))) {
		return nil, nil, fmt.Errorf("read object: something follows it")
	}
	return members, twice, nil
}

// quote makes a name that the caller chose safe to repeat: short, and nothing but what names are made of. It is the one
// thing of a request that is repeated, because a mistake without its place cannot be mended.
func quote(name string) string {
	isOdd := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", r)
	}
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, isOdd) {
		return "(a member with an odd name)"
	}
	return name
}

// jsonType tells in words what a member must be.
func jsonType(t reflect.Type) string {
	switch {
	case t == typ[time.Time]():
		return "a time such as 2026-01-02T03:04:05Z"
	case t == typ[netip.Addr]():
		return "an IP address"
	case t.Kind() == reflect.Map:
		return "an object of strings"
	case t.Kind() == reflect.Slice:
		return "a list of strings"
	case t.Kind() == reflect.Bool:
		return "a boolean"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "a number"
	}
	return "a string"
}

// param is a query parameter of a route: a whole number, or true and false.
type param struct {
	name     string
	about    string
	boolean  bool
	min, max int64
}

// query are the parameters that were given.
type query map[string]int64

func (q query) is(name string) bool { return q[name] == 1 }

// parseQuery reads the parameters of a route strictly, since a misspelt dry_run would do what it was to prevent.
func parseQuery(raw string, known []param) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, "query", "The query cannot be read.", err)
	}
	q := query{}
	for _, p := range known {
		given := values[p.name]
		delete(values, p.name)
		switch {
		case len(given) == 0:
			continue
		case len(given) > 1:
			return nil, fault.New(fault.InvalidRequest, "query", "The parameter "+p.name+" is given twice.")
		}
		if q[p.name], err = p.parse(given[0]); err != nil {
			return nil, fault.New(fault.InvalidRequest, "query", "The parameter "+p.name+" "+err.Error()+".")
		}
	}
	if len(values) > 0 {
		return nil, fault.New(fault.InvalidRequest, "query", "The query has a parameter that this call does not know.")
	}
	return q, nil
}

func (p param) parse(text string) (int64, error) {
	if p.boolean {
		switch text {
		case "true":
			return 1, nil
		case "false":
			return 0, nil
		}
		return 0, fmt.Errorf("must be true or false")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < p.min || n > p.max {
		return 0, fmt.Errorf("must be a whole number from %d to %d", p.min, p.max)
	}
	return n, nil
}
