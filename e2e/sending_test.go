package e2e_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// send sends the request of a row.
func (x *acceptance) send(t *testing.T, r row, form url.Values) *harness.Answer {
	t.Helper()
	a, err := harness.Do(x.request(t, r, form))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sendAtOnce sends the request of a row so often as the row says, at once.
func (x *acceptance) sendAtOnce(t *testing.T, r row, form url.Values) []*harness.Answer {
	t.Helper()
	requests := make([]*http.Request, r.Once)
	for i := range requests {
		requests[i] = x.request(t, r, form)
	}
	answers := make([]*harness.Answer, r.Once)
	all(r.Once, func(i int) {
		a, err := harness.Do(requests[i])
		if err != nil {
			t.Error(err)
			a = new(harness.Answer)
		}
		answers[i] = a
	})
	return answers
}

// request makes the request of a row.
func (x *acceptance) request(t *testing.T, r row, form url.Values) *http.Request {
	t.Helper()
	target := x.URL + "/t/" + cmp.Or(r.Tenant, "acme") + "/token"
	body, contentType := r.body(t, form)
	if r.Query {
		target, body = target+"?"+body, ""
	}
	var reader io.Reader = strings.NewReader(body)
	if r.Stream {
		reader = io.MultiReader(reader) // hides the length
	}
	req, err := http.NewRequestWithContext(t.Context(), cmp.Or(r.Method, http.MethodPost), target, reader)
	if err != nil {
		t.Fatal(err)
	}
	if r.Type != nil {
		contentType = *r.Type
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, value := range r.Header {
		req.Header.Set(name, x.fill(t, value))
	}
	if r.Basic {
		req.SetBasicAuth(x.secret.ID, x.secret.Secret)
	}
	return req
}

// body writes the parameters as the row says.
func (r row) body(t *testing.T, form url.Values) (body, contentType string) {
	t.Helper()
	contentType = "application/x-www-form-urlencoded"
	body = form.Encode()
	switch r.Form {
	case "json":
		members := map[string]any{}
		for name := range form {
			members[name] = form.Get(name)
		}
		body, contentType = encode(t, members), "application/json"
	case "multipart":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name := range form {
			if err := w.WriteField(name, form.Get(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		body, contentType = b.String(), w.FormDataContentType()
	}
	if r.Raw != nil {
		body = *r.Raw
	}
	for _, again := range r.Repeat {
		name, value, given := strings.Cut(again, "=")
		if !given {
			value = form.Get(name)
		}
		body += "&" + name + "=" + url.QueryEscape(value)
	}
	for i := range r.Many {
		body += fmt.Sprintf("&p%d=1", i)
	}
	body += r.Append
	if missing := r.Size - len(body); missing > 0 {
		body += "&pad=" + strings.Repeat("a", missing-len("&pad="))
	}
	return body, contentType
}
