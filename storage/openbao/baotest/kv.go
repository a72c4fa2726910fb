package baotest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxVersions is how many versions a secret keeps unless it says otherwise.
const maxVersions = 10

// kv is a KV engine of version 2.
type kv struct{ secrets map[string]*secret }

func newKV() kv { return kv{map[string]*secret{}} }

type secret struct {
	created, updated time.Time
	oldest, current  int
	most             int // versions; 0 is maxVersions
	casRequired      bool
	custom           map[string]any
	versions         map[int]*version
}

type version struct {
	data      map[string]any
	created   time.Time
	deleted   time.Time
	destroyed bool
}

func (kv) kind() string { return "kv" }

// exists: of what is under data/ and metadata/, the server looks whether it exists; the rest is always an update.
func (k kv) exists(path string) bool {
	what, name, _ := strings.Cut(path, "/")
	return what != "data" && what != "metadata" || k.secrets[name] != nil
}

func (k kv) serve(s *Server, r *request) answer {
	what, name, _ := strings.Cut(r.path, "/")
	writes := r.operation == "create" || r.operation == "update"
	switch {
	case what == "metadata" && r.operation == "list":
		return k.list(name)
	case what == "data" && (writes || r.operation == "patch"):
		return k.put(s.now(), r, name)
	case what == "metadata" && writes:
		return k.configure(s.now(), r, name)
	}
	e := k.secrets[name]
	if e == nil {
		if writes || r.operation == "delete" {
			return nothing()
		}
		return absent()
	}
	switch {
	case what == "data" && r.operation == "read":
		return e.read(r)
	case what == "subkeys" && r.operation == "read":
		return e.subkeys(r)
	case what == "metadata" && r.operation == "read":
		return ok(e.metadata())
	case what == "metadata" && r.operation == "delete":
		delete(k.secrets, name)
		return nothing()
	case what == "data" && r.operation == "delete":
		e.each([]int{e.current}, func(v *version) { v.deleted = s.now() })
		return nothing()
	case what == "delete" && writes:
		e.each(numbers(r), func(v *version) { v.deleted = s.now() })
		return nothing()
	case what == "undelete" && writes:
		e.each(numbers(r), func(v *version) { v.deleted = time.Time{} })
		return nothing()
	case what == "destroy" && writes:
		e.each(numbers(r), func(v *version) { v.data, v.destroyed = nil, true })
		return nothing()
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func (k kv) put(now time.Time, r *request, name string) answer {
	data, given := r.body["data"].(map[string]any)
	if !given {
		return refuse(http.StatusBadRequest, "no data provided")
	}
	e := k.secrets[name]
	if e == nil {
		e = &secret{created: now, versions: map[int]*version{}}
	}
	options, _ := r.body["options"].(map[string]any)
	switch cas, given := options["cas"].(float64); {
	case given && int(cas) != e.current:
		return refuse(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	case !given && e.casRequired:
		return refuse(http.StatusBadRequest, "check-and-set parameter required for this call")
	}
	if r.operation == "patch" {
		before := e.versions[e.current]
		if before == nil || before.data == nil || !before.deleted.IsZero() {
			return absent()
		}
		data = merge(before.data, data)
	}
	k.secrets[name] = e
	e.current++
	e.updated = now
	e.versions[e.current] = &version{data: data, created: now}
	most := e.most
	if most == 0 {
		most = maxVersions
	}
	for n := e.current - most; n > 0 && e.versions[n] != nil; n-- {
		delete(e.versions, n)
	}
	e.oldest = max(0, e.current-most+1)
	if e.oldest == 1 {
		e.oldest = 0
	}
	return ok(e.about(e.current))
}

// merge applies a JSON merge patch (RFC 7396) to one level.
func merge(to, patch map[string]any) map[string]any {
	all := map[string]any{}
	for name, value := range to {
		all[name] = value
	}
	for name, value := range patch {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

func (k kv) configure(now time.Time, r *request, name string) answer {
	e := k.secrets[name]
	if e == nil {
		e = &secret{created: now, updated: now, versions: map[int]*version{}}
		k.secrets[name] = e
	}
	if n, given := r.body["max_versions"].(float64); given {
		e.most = int(n)
	}
	if required, given := r.body["cas_required"].(bool); given {
		e.casRequired = required
	}
	if custom, given := r.body["custom_metadata"].(map[string]any); given {
		e.custom = custom
	}
	return nothing()
}

func (k kv) list(folder string) answer {
	if folder != "" && !strings.HasSuffix(folder, "/") {
		folder += "/"
	}
	var keys []string
	for name := range k.secrets {
		rest, below := strings.CutPrefix(name, folder)
		if first, _, deeper := strings.Cut(rest, "/"); deeper {
			rest = first + "/"
		}
		if below && !slices.Contains(keys, rest) {
			keys = append(keys, rest)
		}
	}
	if keys == nil {
		return absent()
	}
	slices.Sort(keys)
	return ok(map[string]any{"keys": keys})
}

// numbers are the versions that a request names.
func numbers(r *request) (all []int) {
	versions, _ := r.body["versions"].([]any)
	for _, v := range versions {
		switch v := v.(type) {
		case float64:
			all = append(all, int(v))
		case string:
			n, _ := strconv.Atoi(v)
			all = append(all, n)
		}
	}
	return all
}

func (e *secret) each(numbers []int, do func(*version)) {
	for _, n := range numbers {
		if v := e.versions[n]; v != nil {
			do(v)
		}
	}
}

// number returns the version that a request asks for, and whether there is one.
func (e *secret) number(r *request) (int, bool) {
	n, err := strconv.Atoi(r.URL.Query().Get("version"))
	if err != nil || n == 0 {
		n = e.current
	}
	return n, e.versions[n] != nil
}

func (e *secret) read(r *request) answer {
	n, there := e.number(r)
	if !there {
		return absent()
	}
	v := e.versions[n]
	a := ok(map[string]any{"data": nil, "metadata": e.about(n)})
	if v.destroyed || !v.deleted.IsZero() {
		a.status = http.StatusNotFound // with what is said of it all the same
		return a
	}
	a.data = map[string]any{"data": v.data, "metadata": e.about(n)}
	return a
}

func (e *secret) subkeys(r *request) answer {
	n, there := e.number(r)
	if !there {
		return absent()
	}
	keys := map[string]any{}
	for name := range e.versions[n].data {
		keys[name] = nil
	}
	return ok(map[string]any{"metadata": e.about(n), "subkeys": keys})
}

// about is what is said of a version beside its data.
func (e *secret) about(n int) map[string]any {
	v := e.versions[n]
	return map[string]any{"created_time": stamp(v.created), "custom_metadata": e.custom,
		"deletion_time": stamp(v.deleted), "destroyed": v.destroyed, "version": n}
}

func (e *secret) metadata() map[string]any {
	versions := map[string]any{}
	for n, v := range e.versions {
		versions[strconv.Itoa(n)] = map[string]any{"created_time": stamp(v.created), "deletion_time": stamp(v.deleted),
			"destroyed": v.destroyed}
	}
	return map[string]any{"cas_required": e.casRequired, "created_time": stamp(e.created),
		"current_metadata_version": 0, "current_version": e.current, "custom_metadata": e.custom,
		"delete_version_after": "0s", "max_versions": e.most, "metadata_cas_required": false, "oldest_version": e.oldest,
		"updated_time": stamp(e.updated), "versions": versions}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}
