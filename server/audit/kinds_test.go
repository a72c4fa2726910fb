package audit

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// walk calls each with every field of a body, by its path in JSON.
func walk(path string, v reflect.Value, each func(path string, v reflect.Value)) {
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[netip.Addr]() {
		each(strings.TrimPrefix(path, "."), v)
		return
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		walk(path+"."+name, v.Field(i), each)
	}
}

// Every field of Body has a form and is part of some event; and every kind is of such fields alone.
func TestTheTableIsWhole(t *testing.T) {
	used := map[string]bool{"outcome": true, "reason": true}
	for i := range kinds {
		for _, m := range kinds[i].members() {
			if m.parts == nil {
				used[m.name] = true
			}
			for _, part := range m.parts {
				used[m.name+"."+part.name] = true
			}
		}
	}
	known := map[string]bool{"agent": true}
	walk("", reflect.ValueOf(Body{}), func(path string, _ reflect.Value) {
		known[path] = true
		if !used[path] {
			t.Errorf("no event has %s", path)
		}
		if path != "outcome" && path != "reason" && formOf(path).schema == nil {
			t.Errorf("%s has no form", path)
		}
	})
	for path := range used {
		if !known[path] {
			t.Errorf("%s is no field", path)
		}
	}
	for _, f := range forms {
		if !known[f.path] {
			t.Errorf("the form %s is of no field", f.path)
		}
	}
	if len(kindOf) != len(kinds) {
		t.Error("two kinds have one name")
	}
}

// Samples returns events of every kind, by what they are: with each outcome, with everything that the kind can have
// and with no more than it must.
func Samples() map[string]Event {
	all := map[string]Event{}
	for i := range kinds {
		for _, outcome := range kinds[i].ends() {
			name := kinds[i].name + " " + string(outcome)
			all[name+" full"] = kinds[i].sample(outcome, true)
			all[name+" bare"] = kinds[i].sample(outcome, false)
		}
	}
	return all
}

func (k *kind) sample(outcome Outcome, full bool) Event {
	e := Event{Name: k.name}
	if k.of == ofAgent {
		e.Agent, e.Txn = "client:ap-bot", anID
	}
	wanted := map[string]bool{}
	for _, m := range k.members() {
		if !full && (m.mark == '?' || m.mark == '!' && outcome != Allowed) {
			continue
		}
		wanted[m.name] = true
		for _, part := range m.parts {
			wanted[m.name+"."+part.name] = full || part.mark != '?'
		}
	}
	walk("", reflect.ValueOf(&e.Body).Elem(), func(path string, v reflect.Value) {
		if wanted[path] {
			v.Set(sampled(path, v.Type()))
		}
	})
	e.Body.Outcome = outcome
	if outcome != Allowed {
		e.Body.Reason = k.someReason()
	}
	return e
}

// sampled is what a field of that type holds in a sample.
func sampled(path string, as reflect.Type) reflect.Value {
	if as == reflect.TypeFor[netip.Addr]() {
		return reflect.ValueOf(netip.MustParseAddr(formOf(path).sample.(string)))
	}
	return reflect.ValueOf(formOf(path).sample).Convert(as)
}

func (k *kind) someReason() string {
	codes := append(strings.Fields(k.reasons), NotReleased)
	return strings.ReplaceAll(codes[0], "*", "something")
}

// Others returns, for an event of a kind, events that lack one thing which that kind always has, or have one thing more
// than it can have, by what is wrong.
func Others(name string) map[string]Event {
	k, all := kindOf[name], map[string]Event{}
	outcome := k.ends()[0]
	can, must := map[string]bool{"outcome": true, "reason": true, "request.node": true}, map[string]bool{}
	for _, m := range k.members() {
		always := m.mark == 0 || m.mark == '!' && outcome == Allowed
		if m.parts == nil {
			can[m.name], must[m.name] = true, always
		}
		for _, part := range m.parts {
			path := m.name + "." + part.name
			can[path], must[path] = true, always && part.mark == 0
		}
	}
	var paths []string
	walk("", reflect.ValueOf(Body{}), func(path string, _ reflect.Value) { paths = append(paths, path) })
	for _, path := range paths {
		e := k.sample(outcome, true)
		walk("", reflect.ValueOf(&e.Body).Elem(), func(other string, v reflect.Value) {
			switch {
			case other != path:
			case must[path]:
				v.SetZero()
				all["without "+path] = e
			case !can[path]:
				v.Set(sampled(path, v.Type()))
				all["with "+path] = e
			}
		})
	}
	return all
}
