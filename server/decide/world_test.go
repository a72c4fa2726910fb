package decide_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/servertest"
)

// key is what the upstream knows, and the agent never.
const key = "sk-live-0123456789abcdef+/=Zz"

const scope = "payments:refunds.read payments:refunds.create"

// file is a tenant whose tool may be asked for by proxies.
const file = `apiVersion: bursar/v1
tenant: acme
clients:
  - {id: ap-bot, kind: agent, auth: {method: client_secret_basic}}
tools:
  - name: payments
    resource: https://sts.example/shim/t/acme/payments
    actions: [refunds.read, refunds.create]
    upstream:
      url: https://legacy-payments.internal:8443
      allow_decision_mode: true
      inject: [${inject}]
      allow:
        - {action: refunds.read, methods: [GET], path: "/v1/refunds/{id}", query: [fields]}
        - {action: refunds.create, methods: [POST], path: "/v1/refunds"}
`

const header = `{in: header, name: X-Api-Key, secret: payments-key}`

// world is a tenant with a key that proxies may be handed.
type world struct {
	*servertest.World
	*decide.Handler
	token string
}

// newWorld makes one; changes are pairs of a text of the file and what stands in its place.
func newWorld(t *testing.T, changes ...string) *world {
	t.Helper()
	w := &world{World: servertest.New(t, servertest.Options{})}
	w.Create(strings.NewReplacer(append(changes, "${inject}", header)...).Replace(file))
	w.PutSecret("acme", "payments-key", "https://legacy-payments.internal:8443", "", key)
	w.Handler = decide.New(servertest.ShimURL, w.Shim(w.Log), quiet)
	w.token = w.AccessToken("payments", scope)
	return w
}

// ask asks as nginx does, and returns what was answered; more are further lines.
func (w *world) ask(method, uri string, more ...string) (*http.Response, string) {
	w.T.Helper()
	answer := send(w.T.(*testing.T), w.Handler, append([]string{ask, tool, "Authorization: Bearer " + w.token,
		"X-Original-Method: " + method, "X-Original-URI: " + uri}, more...)...)
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return answer, string(body)
}

// uses returns the records of what was done with keys, as "outcome phase mode reason".
func (w *world) uses() (all []string) {
	for _, r := range w.Records("acme") {
		if r.Name == audit.KeyUse {
			all = append(all, strings.Join([]string{string(r.Body.Outcome), r.Body.Use.Phase, r.Body.Use.Mode,
				r.Body.Reason}, " "))
		}
	}
	return all
}
