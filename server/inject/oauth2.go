package inject

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// Bounds of a token request.
const (
	patience       = 10 * time.Second
	maxTokenAnswer = 64 << 10
	maxToken       = 16 << 10
	unsaid         = 5 * time.Minute // for how long a token is good that does not say it
)

// oauth2 puts an access token on a call that was got for client credentials (RFC 6749 §4.4). The client's secret
// itself never goes to the upstream.
func (in *Injector) oauth2(ctx context.Context, t *Target, x tools.Injection, ref vault.Ref, v *vault.Value) (
	[]string, error,
) {
	id, secret := v.Field(vault.ClientID), v.Field(vault.ClientSecret)
	switch {
	case x.OAuth2 == nil:
		return nil, errPlace()
	case !isText(id) || !isText(secret):
		return nil, errValue()
	}
	key := tokenKey(t.Tenant, x.OAuth2, ref)
	token, err := in.tokens.get(ctx, key, ref, in.now, func(ctx context.Context) (token, error) {
		return in.fetch(ctx, t.Dial, x.OAuth2, id, secret)
	})
	if err != nil {
		return nil, err
	}
	texts, err := t.bearer(token)
	return append(texts, secret), err
}

// fetch asks a token endpoint for a token. It speaks to no proxy, follows nothing, and says nothing of what was
// answered but whether it was a token.
func (in *Injector) fetch(ctx context.Context, guard *dial.Guard, how *tools.OAuth2, id, secret string) (token, error) {
	if guard == nil {
		guard = new(dial.Guard)
	}
	request, err := tokenRequest(ctx, how, id, secret)
	if err != nil {
		return token{}, errPlace()
	}
	transport := &http.Transport{DialContext: guard.DialContext, DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: in.roots},
		MaxResponseHeaderBytes: maxTokenAnswer}
	asked := in.now()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return token{}, unreachable(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return token{}, fault.New(fault.Unavailable, "upstream.token_refused",
			"The upstream's token endpoint did not give a token; its client credentials may not be good any more.")
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer+1))
	if err != nil {
		return token{}, unreachable(err)
	}
	text, life, ok := readToken(answer)
	if !ok {
		return token{}, fault.New(fault.Unavailable, "upstream.token_refused",
			"The upstream's token endpoint did not answer with a bearer token.")
	}
	// It is taken for expired a little earlier than it is, so that it is not on the way when it expires.
	return token{text: text, until: asked.Add(life - min(life/5, 30*time.Second))}, nil
}

// tokenRequest is RFC 6749 §4.4.2, with the client authenticated as §2.3.1 says.
func tokenRequest(ctx context.Context, how *tools.OAuth2, id, secret string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, text := range how.Params {
		form.Set(name, text)
	}
	for name, text := range map[string]string{"scope": how.Scope, "audience": how.Audience, "resource": how.Resource} {
		if text != "" {
			form.Set(name, text)
		}
	}
	if how.Auth == "post" {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	body := []byte(form.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, how.TokenURL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.GetBody = nil // it is sent once
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header["User-Agent"] = nil
	if how.Auth != "post" {
		request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return request, nil
}

// readToken reads a token response (RFC 6749 §5.1). Some servers write expires_in as a string.
func readToken(answer []byte) (text string, life time.Duration, ok bool) {
	var said struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   any    `json:"expires_in"`
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if len(answer) > maxTokenAnswer || d.Decode(&said) != nil || d.More() || !strings.EqualFold(said.TokenType, "Bearer") {
		return "", 0, false
	}
	if len(said.AccessToken) > maxToken || !isHeaderText(said.AccessToken) || strings.Contains(said.AccessToken, " ") {
		return "", 0, false
	}
	life = unsaid
	switch in := said.ExpiresIn.(type) {
	case json.Number:
		life, ok = seconds(in.String())
	case string:
		life, ok = seconds(in)
	default:
		ok = in == nil
	}
	return said.AccessToken, life, ok
}

// seconds reads a lifetime; beyond a day it does not matter.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n != n || n < 0 {
		return 0, false
	}
	return time.Duration(min(n, 86400) * float64(time.Second)), true
}

func unreachable(err error) error {
	if errors.Is(err, dial.ErrRefused) {
		return fault.Wrap(fault.InvalidTarget, "upstream.refused",
			"The upstream's token endpoint is at an address that is not allowed; the platform's operator can allow it.", err)
	}
	return fault.Wrap(fault.Unavailable, "upstream.token_unreachable",
		"The upstream's token endpoint cannot be reached, or its certificate is not good.", dial.Cause(err))
}
