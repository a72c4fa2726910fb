package adminapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/adminapi"
)

type object = map[string]any

// watch stands between a test and the API, and holds every answer against the API's own description.
type watch struct {
	t    *testing.T
	next http.Handler
	doc  object

	mu   sync.Mutex
	seen map[string]bool // "operationId status"
}

// newWatch reads the description from the API.
func newWatch(t *testing.T, next http.Handler) *watch {
	t.Helper()
	r := httptest.NewRecorder()
	next.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/admin/v1/openapi.json", nil))
	w := &watch{t: t, next: next, seen: map[string]bool{}}
	if err := json.Unmarshal(r.Body.Bytes(), &w.doc); err != nil || r.Code != http.StatusOK {
		t.Fatalf("openapi.json: %d, %v", r.Code, err)
	}
	return w
}

func (w *watch) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	w.next.ServeHTTP(rec, r)
	w.check(r, rec)
	for name, values := range rec.Header() {
		out.Header()[name] = values
	}
	out.WriteHeader(rec.Code)
	_, _ = out.Write(rec.Body.Bytes())
}

func (w *watch) check(r *http.Request, rec *httptest.ResponseRecorder) {
	where := fmt.Sprintf("%s %s → %d", r.Method, r.URL.Path, rec.Code)
	body := rec.Body.Bytes()
	if rec.Header().Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s may be stored", where)
	}
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && token != "" &&
		bytes.Contains(body, []byte(token)) {
		w.t.Errorf("%s echoes the token", where)
	}
	op := w.operation(r)
	if op == nil {
		if rec.Code != http.StatusNotFound && rec.Code != http.StatusMethodNotAllowed {
			w.t.Errorf("%s: the call is not documented", where)
		}
		return
	}
	response, ok := op["responses"].(object)[fmt.Sprint(rec.Code)].(object)
	if !ok {
		w.t.Errorf("%s: the status is not documented", where)
		return
	}
	w.mu.Lock()
	w.seen[fmt.Sprint(op["operationId"], " ", rec.Code)] = true
	w.mu.Unlock()
	content, ok := response["content"].(object)
	if !ok {
		if len(body) > 0 {
			w.t.Errorf("%s: a body that is not documented", where)
		}
		return
	}
	media, ok := content[rec.Header().Get("Content-Type")].(object)
	if !ok {
		w.t.Errorf("%s: the media type %q is not documented", where, rec.Header().Get("Content-Type"))
		return
	}
	if rec.Header().Get("Content-Type") == "application/octet-stream" {
		return
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		w.t.Errorf("%s: %v", where, err)
	}
	for _, problem := range w.validate(media["schema"].(object), value, "body") {
		w.t.Errorf("%s: %s", where, problem)
	}
}

// operation finds what the description says of a call; nil if nothing.
func (w *watch) operation(r *http.Request) object {
	path, ok := strings.CutPrefix(r.URL.Path, adminapi.Prefix)
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	got := strings.Split(path, "/")
	best, score := object(nil), -1
	for template, methods := range w.doc["paths"].(object) {
		want := strings.Split(template, "/")
		if !ok || len(want) != len(got) {
			continue
		}
		literal := 0
		for i, segment := range want {
			if segment == got[i] {
				literal++
			} else if !strings.HasPrefix(segment, "{") {
				literal = -1
				break
			}
		}
		if op, has := methods.(object)[strings.ToLower(method)].(object); has && literal > score {
			best, score = op, literal
		}
	}
	return best
}

// validate lists what is wrong with a value by the parts of JSON Schema that the description uses; another part is a
// mistake of the description.
func (w *watch) validate(schema object, v any, path string) (problems []string) {
	add := func(format string, args ...any) { problems = append(problems, path+" "+fmt.Sprintf(format, args...)) }
	for word, arg := range schema {
		switch word {
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/components/schemas/")
			target, ok := w.doc["components"].(object)["schemas"].(object)[name].(object)
			if !ok {
				add("refers to no schema: %s", name)
				continue
			}
			problems = append(problems, w.validate(target, v, path)...)
		case "allOf":
			for _, part := range arg.([]any) {
				problems = append(problems, w.validate(part.(object), v, path)...)
			}
		case "type":
			if !isType(arg.(string), v) {
				add("is no %s: %v", arg, v)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				add("is %v, none of %v", v, arg)
			}
		case "const":
			if v != arg {
				add("is %v, not %v", v, arg)
			}
		case "format":
			if at, err := time.Parse(time.RFC3339, v.(string)); err != nil || arg != "date-time" || at.Location() != time.UTC {
				add("is no time in UTC: %v", v)
			}
		case "required":
			for _, name := range arg.([]any) {
				if _, ok := v.(object)[name.(string)]; !ok {
					add("lacks %v", name)
				}
			}
		case "items":
			for i, item := range v.([]any) {
				problems = append(problems, w.validate(arg.(object), item, fmt.Sprintf("%s[%d]", path, i))...)
			}
		case "properties":
			for name, item := range v.(object) {
				s, ok := arg.(object)[name].(object)
				if !ok {
					if schema["type"] != nil { // else it is a part of allOf
						add("has the undocumented member %s", name)
					}
					continue
				}
				problems = append(problems, w.validate(s, item, path+"."+name)...)
			}
		case "description", "additionalProperties":
		default:
			add("is described with the unknown word %s", word)
		}
	}
	return problems
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case object:
		return name == "object"
	case []any:
		return name == "array"
	}
	return false
}

// TestTheDescriptionIsWhole holds what clients rely on in any OpenAPI document.
func TestTheDescriptionIsWhole(t *testing.T) {
	w := newWorld(t)
	if w.watch.doc["openapi"] != "3.1.1" {
		t.Errorf("openapi %v", w.watch.doc["openapi"])
	}
	codes := map[string]bool{}
	ids := map[string]bool{}
	for path, methods := range w.watch.doc["paths"].(object) {
		for method, op := range methods.(object) {
			op := op.(object)
			id := op["operationId"].(string)
			if ids[id] {
				t.Errorf("two operations are called %s", id)
			}
			ids[id] = true
			var documented []string
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				if p := p.(object); p["in"] == "path" {
					documented = append(documented, "{"+p["name"].(string)+"}")
				}
			}
			var wanted []string
			for segment := range strings.SplitSeq(path, "/") {
				if strings.HasPrefix(segment, "{") {
					wanted = append(wanted, segment)
				}
			}
			if !slices.Equal(documented, wanted) {
				t.Errorf("%s %s has the path parameters %v", method, path, documented)
			}
			for _, response := range op["responses"].(object) {
				content, _ := response.(object)["content"].(object)
				if problem, ok := content["application/problem+json"].(object); ok {
					all := problem["schema"].(object)["allOf"].([]any)
					typ := all[1].(object)["properties"].(object)["type"].(object)["const"].(string)
					codes[strings.TrimPrefix(typ, "urn:bursar:problem:")] = true
				}
			}
		}
	}
	for _, code := range strings.Fields("invalid_request unauthenticated forbidden not_found method_not_allowed " +
		"conflict " +
		"too_large too_many_requests invalid internal unavailable") {
		if !codes[code] {
			t.Errorf("no operation documents the code %s", code)
		}
	}
}
