package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

// readCredentials reads what the request presents to authenticate its client. Only the schemes that are offered here
// count; any other Authorization header is a credential that fails.
func readCredentials(r *http.Request, form url.Values) (clients.Credentials, error) {
	c := clients.Credentials{
		ClientID:      form.Get("client_id"),
		AssertionType: form.Get("client_assertion_type"),
		Assertion:     form.Get("client_assertion"),
	}
	if secret := form.Get("client_secret"); secret != "" {
		c.Post = &clients.IDSecret{ID: c.ClientID, Secret: secret}
	}
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0:
		return c, nil
	case len(headers) > 1:
		return c, fault.New(fault.InvalidRequest, "request.authorization", "Send one Authorization header.")
	}
	basic, err := readBasic(headers[0])
	if err != nil {
		return c, err
	}
	c.Basic = basic
	return c, nil
}

// readBasic reads an Authorization header of scheme Basic, in which id and secret are form-encoded (RFC 6749 §2.3.1).
func readBasic(header string) (*clients.IDSecret, error) {
	wrong := fault.New(fault.InvalidClient, "client.authorization",
		"The Authorization header is not Basic with a form-encoded client id and secret.")
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return nil, wrong
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return nil, wrong
	}
	id, secret, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return nil, wrong
	}
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	if idErr != nil || secretErr != nil || id == "" {
		return nil, wrong
	}
	return &clients.IDSecret{ID: id, Secret: secret}, nil
}
