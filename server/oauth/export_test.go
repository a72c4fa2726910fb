package oauth

import (
	"net/http"
	"net/url"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

// ReadForm reads a request's form.
func ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error) { return readForm(w, r) }

// ReadCredentials reads a request's credentials.
func ReadCredentials(r *http.Request, form url.Values) (clients.Credentials, error) {
	return readCredentials(r, form)
}

// WriteError writes a fault.
func WriteError(w http.ResponseWriter, f *fault.Error) { writeError(w, f, `Basic realm="acme"`) }

// Codes are the error codes of the table, by kind.
func Codes() map[fault.Kind]string {
	all := map[fault.Kind]string{}
	for kind, to := range table {
		all[kind] = to.code
	}
	return all
}
