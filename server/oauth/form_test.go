package oauth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/oauth"
	"github.com/bursar-sts/bursar/server/servertest"
)

func TestForms(t *testing.T) {
	s := newSite(t, servertest.Options{})
	good := s.usual().Encode()
	for _, row := range []struct {
		name, kind, body string
		status           int
		code             string
	}{
		{"as it should be", form, good, 200, ""},
		{"with the charset", form + "; charset=UTF-8", good, 200, ""},
		{"in another case of the media type", "Application/X-WWW-Form-Urlencoded", good, 200, ""},
		{"with an unknown parameter", form, good + "&foo=bar", 200, ""},
		{"with empty parameters, which are absent",
			form, good + "&scope=&actor_token=&actor_token_type&client_secret=", 200, ""},
		{"with empty pairs", form, "&&" + good + "&", 200, ""},
		{"with one target twice",
			form, good + "&audience=payments&resource=" + url.QueryEscape("https://tools.example/payments"), 200, ""},
		{"exactly at the limit", form, good + "&x=" + strings.Repeat("a", oauth.MaxBody-len(good)-3), 200, ""},

		{"one byte over the limit",
			form, good + "&x=" + strings.Repeat("a", oauth.MaxBody-len(good)-2), 413, "invalid_request"},
		{"over the limit, in another type", "application/json", strings.Repeat("a", oauth.MaxBody+1), 413, "invalid_request"},
		{"JSON", "application/json", `{"grant_type":"x"}`, 400, "invalid_request"},
		{"without a type", "", good, 400, "invalid_request"},
		{"text", "text/plain", good, 400, "invalid_request"},
		{"in another charset", form + "; charset=utf-16", good, 400, "invalid_request"},
		{"with a broken type", form + "; charset", good, 400, "invalid_request"},
		{"empty", form, "", 400, "invalid_request"},
		{"without a grant type", form, with(s.usual(), "grant_type", "").Encode(), 400, "invalid_request"},
		{"with an empty grant type", form, "grant_type=", 400, "invalid_request"},
		{"with a grant type of spaces", form, with(s.usual(), "grant_type", "  ").Encode(), 400, "invalid_request"},
		{"bytes that are no UTF-8", form, good + "&x=%FF", 400, "invalid_request"},
		{"a bad escape", form, good + "&x=%zz", 400, "invalid_request"},
		{"semicolons", form, strings.ReplaceAll(good, "&", ";"), 400, "invalid_request"},
		{"a NUL", form, good + "&x=a%00b", 400, "invalid_request"},
		{"a line break", form, good + "&x=a%0D%0Ab", 400, "invalid_request"},
		{"a control character in a name", form, good + "&x%07=a", 400, "invalid_request"},
		{"a long name", form, good + "&" + strings.Repeat("a", 129) + "=1", 400, "invalid_request"},
		{"101 parameters", form, good + strings.Repeat("&audience=payments", 97) + "&x=1", 400, "invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := s.do(http.MethodPost, "/t/acme/token", row.kind, strings.NewReader(row.body))
			if row.status == 200 {
				if a.status != 200 || a.text("access_token") == "" {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				return
			}
			refusal(t, a, row.status, row.code)
		})
	}
	t.Run("over the limit, without its length", func(t *testing.T) {
		a := s.do(http.MethodPost, "/t/acme/token", form,
			io.MultiReader(strings.NewReader("x="), strings.NewReader(strings.Repeat("a", oauth.MaxBody))))
		refusal(t, a, 413, "invalid_request")
		if !a.closes {
			t.Error("the connection is kept")
		}
	})
	t.Run("in the URL", func(t *testing.T) {
		refusal(t, s.do(http.MethodPost, "/t/acme/token?"+good, form, nil), 400, "invalid_request")
		refusal(t, s.do(http.MethodPost, "/t/acme/token?x=y", form, strings.NewReader(good)), 400, "invalid_request")
	})
	t.Run("two content types", func(t *testing.T) {
		refusal(t, s.do(http.MethodPost, "/t/acme/token", form, strings.NewReader(good),
			func(r *http.Request) { r.Header.Add("Content-Type", form) }),
			400, "invalid_request")
	})
}

// TestNothingIsGivenTwice repeats each parameter of each endpoint, with the same value, another one, and none.
func TestNothingIsGivenTwice(t *testing.T) {
	s := newSite(t, servertest.Options{})
	for _, name := range []string{
		"grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "scope",
		"client_id", "client_secret", "client_assertion", "client_assertion_type", "requested_token_type",
		"authorization_details", "foo",
	} {
		for _, twice := range []string{"a=1&a=1", "a=1&a=2", "a=&a=", "a&a=1", "a=1&a=", "a=1&%61=1"} {
			body := with(s.usual(), name, "").Encode() + "&" +
				strings.NewReplacer("a=", name+"=", "%61", pct(name), "a&", name+"&").Replace(twice)
			refusal(t, s.do(http.MethodPost, "/t/acme/token", form, strings.NewReader(body)), 400, "invalid_request")
		}
	}
	for _, endpoint := range []string{"introspect", "revoke"} {
		for _, name := range []string{"token", "token_type_hint", "client_id"} {
			a := s.do(http.MethodPost, "/t/acme/"+endpoint, form, strings.NewReader(name+"=x&"+name+"=x"))
			refusal(t, a, 400, "invalid_request")
		}
	}
}

func pct(s string) string { return fmt.Sprintf("%%%02x%s", s[0], s[1:]) }

// TestMultipartIsNeverSpooled: a form of many megabytes is refused after 64 KiB of it, and none of it reaches the disk.
// TestMultipartIsNeverSpooled (T-60): of 200 MiB no more is read than a form may have, and nothing is written.
func TestMultipartIsNeverSpooled(t *testing.T) {
	s := newSite(t, servertest.Options{})
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	r, w := io.Pipe()
	m := multipart.NewWriter(w)
	sent := 0
	go func() {
		part, err := m.CreateFormFile("subject_token", "x")
		for err == nil && sent < 200<<20 {
			var n int
			n, err = part.Write(make([]byte, 32<<10))
			sent += n
		}
		_ = w.CloseWithError(errors.Join(err, m.Close()))
	}()
	request := httptest.NewRequest(http.MethodPost, "/t/acme/token", r)
	request.Header.Set("Content-Type", m.FormDataContentType())
	rec := httptest.NewRecorder()
	s.Server.ServeHTTP(rec, request)
	_ = r.Close()
	if rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	if files, err := os.ReadDir(spool); err != nil || len(files) != 0 {
		t.Errorf("spooled %v %v", files, err)
	}
	if sent > 1<<20 {
		t.Errorf("read %d bytes", sent)
	}
	small := "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n" + grant + "\r\n--b--\r\n"
	refusal(t, s.do(http.MethodPost, "/t/acme/token", "multipart/form-data; boundary=b", strings.NewReader(small)), 400,
		"invalid_request")
}

func FuzzReadForm(f *testing.F) {
	for _, seed := range []string{
		"", "a=1", "a=1&a=2", "resource=1&resource=2", "a=%00", "a;b=c", "%zz", "a=%FF", "=&=", "a+b=c+d",
	} {
		f.Add(seed, form)
	}
	f.Fuzz(func(t *testing.T, body, kind string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		values, err := oauth.ReadForm(httptest.NewRecorder(), r)
		if err != nil {
			if k := fault.As(err).Kind; k != fault.InvalidRequest && k != fault.TooLarge {
				t.Fatalf("refused as %v", k)
			}
			return
		}
		standard, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("accepted what net/url does not: %v", err)
		}
		for name, got := range values {
			if !slices.Equal(got, slices.DeleteFunc(standard[name], func(v string) bool { return v == "" })) {
				t.Fatalf("%q is %q, for net/url %q", name, got, standard[name])
			}
			if len(got) > 1 && name != "resource" && name != "audience" {
				t.Fatalf("%q is there twice", name)
			}
			for _, v := range got {
				if v == "" || !utf8.ValidString(v) || strings.ContainsAny(v, "\x00\r\n") {
					t.Fatalf("%q holds %q", name, v)
				}
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, row := range []struct {
		name   string
		header []string
		id     string
		secret string
		kind   fault.Kind // of the refusal; Internal for none
	}{
		{"none", nil, "", "", fault.Internal},
		{"Basic", []string{"Basic " + b64("bot:secret")}, "bot", "secret", fault.Internal},
		{"the scheme in another case", []string{"bAsIC " + b64("bot:secret")}, "bot", "secret", fault.Internal},
		{"a colon in the secret", []string{"Basic " + b64("bot:a:b:c")}, "bot", "a:b:c", fault.Internal},
		{"form-encoded id and secret", []string{"Basic " + b64("b%6ft%3A1:s+%25%2B")}, "bot:1", "s %+", fault.Internal},
		{"an empty secret", []string{"Basic " + b64("bot:")}, "bot", "", fault.Internal},
		{"no colon", []string{"Basic " + b64("bot")}, "", "", fault.InvalidClient},
		{"no id", []string{"Basic " + b64(":secret")}, "", "", fault.InvalidClient},
		{"a bad escape", []string{"Basic " + b64("bot:%zz")}, "", "", fault.InvalidClient},
		{"not base64", []string{"Basic !"}, "", "", fault.InvalidClient},
		{"base64 with unused bits", []string{"Basic YTpiYh=="}, "", "", fault.InvalidClient},
		{"nothing behind the scheme", []string{"Basic"}, "", "", fault.InvalidClient},
		{"nothing", []string{""}, "", "", fault.InvalidClient},
		{"Bearer", []string{"Bearer eyJ"}, "", "", fault.InvalidClient},
		{"two headers", []string{"Basic " + b64("bot:secret"), "Basic " + b64("bot:secret")}, "", "", fault.InvalidRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			for _, h := range row.header {
				r.Header.Add("Authorization", h)
			}
			c, err := oauth.ReadCredentials(r, url.Values{"client_id": {"x"}})
			switch {
			case row.kind != fault.Internal:
				if err == nil || fault.As(err).Kind != row.kind {
					t.Errorf("refused as %v, want %v", err, row.kind)
				}
			case err != nil || c.Post != nil || c.ClientID != "x":
				t.Errorf("read %+v, %v", c, err)
			case row.id == "" && c.Basic != nil,
				row.id != "" && (c.Basic == nil || *c.Basic != clients.IDSecret{ID: row.id, Secret: row.secret}):
				t.Errorf("read %v", c.Basic)
			}
		})
	}
}

func FuzzReadCredentials(f *testing.F) {
	for _, seed := range []string{"Basic YTpi", "Basic", "Bearer x", "basic OjphOg==", "Basic  YTpi", "Basic YTpi\t"} {
		f.Add(seed, "id", "secret", "type", "assertion")
	}
	f.Fuzz(func(t *testing.T, header, id, secret, kind, assertion string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		form := url.Values{"client_id": {id}, "client_secret": {secret},
			"client_assertion_type": {kind}, "client_assertion": {assertion}}
		c, err := oauth.ReadCredentials(r, form)
		switch {
		case err != nil && fault.As(err).Kind != fault.InvalidClient:
			t.Fatalf("refused as %v", err)
		case err == nil &&
			(c.Basic == nil || c.Basic.ID == "" || (c.Post != nil) != (secret != "") || c.Assertion != assertion):
			t.Fatalf("read %+v", c)
		}
	})
}
