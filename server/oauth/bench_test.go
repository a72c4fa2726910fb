package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// endpoint is a request for one of acme's endpoints, without a network.
type endpoint struct {
	path, body string
	change     func(*http.Request)
}

func (e endpoint) serve(b *testing.B, w *servertest.World) string {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/t/acme/"+e.path, strings.NewReader(e.body))
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header.Set("Content-Type", form)
	if e.change != nil {
		e.change(r)
	}
	answer := httptest.NewRecorder()
	w.Server.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		b.Fatalf("answered %d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// BenchmarkToken tells what the token endpoint costs over the phases that it calls. The subject token is re-used.
func BenchmarkToken(b *testing.B) {
	w := servertest.New(b, servertest.Options{StoreURL: storagetest.Redis(b)})
	w.Create(servertest.Acme())
	subject := w.Workload("ap-bot")
	b.Run("phases", func(b *testing.B) {
		request := exchange.Request{SubjectToken: subject, SubjectTokenType: jwt, Audiences: []string{"payments"}}
		b.ReportAllocs()
		for b.Loop() {
			attempt, err := w.Exchanger.Begin(b.Context(), "acme", request)
			if err == nil {
				err = attempt.Decide(b.Context())
			}
			if err == nil {
				_, err = attempt.Issue(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("endpoint", func(b *testing.B) {
		e := endpoint{path: "token", body: url.Values{"grant_type": {grant}, "subject_token": {subject},
			"subject_token_type": {jwt}, "audience": {"payments"}}.Encode()}
		b.ReportAllocs()
		for b.Loop() {
			e.serve(b, w)
		}
	})
}

// BenchmarkIntrospect tells the same of introspection. The token is always the same.
func BenchmarkIntrospect(b *testing.B) {
	w := servertest.New(b, servertest.Options{StoreURL: storagetest.Redis(b)})
	w.Create(servertest.Acme())
	secret := w.Secret("payments-api")
	attempt, err := w.Exchanger.Begin(b.Context(), "acme", exchange.Request{
		SubjectToken: w.Workload("ap-bot"), SubjectTokenType: jwt, Audiences: []string{"payments"}})
	if err == nil {
		err = attempt.Decide(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	issued, err := attempt.Issue(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("phases", func(b *testing.B) {
		question := exchange.Question{Credentials: servertest.Basic("payments-api", secret), Token: issued.Token}
		b.ReportAllocs()
		for b.Loop() {
			if claims, err := w.Exchanger.Introspect(b.Context(), "acme", question); claims == nil || err != nil {
				b.Fatal(claims, err)
			}
		}
	})
	b.Run("endpoint", func(b *testing.B) {
		e := endpoint{path: "introspect", body: url.Values{"token": {issued.Token}}.Encode(),
			change: basic("payments-api", secret)}
		b.ReportAllocs()
		for b.Loop() {
			e.serve(b, w)
		}
	})
}
