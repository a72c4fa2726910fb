package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/scopes"
)

// errNoAnswer is wrapped by errors that leave open what the issuer decided.
var errNoAnswer = errors.New("no answer from the issuer")

// errNotThere is the answer of a server that has nothing at an address.
var errNotThere = errors.New("there is nothing at the issuer's address")

// issuer is the token side of one tenant, as an agent or a resource server sees it.
type issuer struct {
	url    string
	id     string // client id; empty: no client authentication
	secret string
}

// issuerFlags are the flags of commands that speak to an issuer.
type issuerFlags struct {
	url, clientID, secretFile string
}

func (f *issuerFlags) add(cmd *cobra.Command, purpose string) {
	cmd.Flags().StringVar(&f.url, "issuer", "", purpose+", such as https://sts.example/t/acme")
	cmd.Flags().StringVar(&f.clientID, "client-id", "", "client to authenticate as")
	cmd.Flags().StringVar(&f.secretFile, "client-secret-file", "", "file with the client's secret")
}

func (f *issuerFlags) open() (*issuer, error) {
	if err := scopes.CheckURL(f.url, scopes.WithPath); err != nil {
		return nil, usage("the issuer " + err.Error())
	}
	s := &issuer{url: f.url, id: f.clientID}
	switch {
	case (f.clientID == "") != (f.secretFile == ""):
		return nil, usage("--client-id and --client-secret-file are given together")
	case f.secretFile == "":
		return s, nil
	}
	var err error
	s.secret, err = readSecret(f.secretFile)
	return s, err
}

// metadata is what is used of an issuer's metadata (RFC 8414 §2).
type metadata struct {
	Issuer                string `json:"issuer"`
	TokenEndpoint         string `json:"token_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
}

// discover reads the issuer's metadata, where RFC 8414 §3.1 puts it: between the host and the path.
func (s *issuer) discover(ctx context.Context) (*metadata, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	body, err := s.get(ctx, u.String())
	if errors.Is(err, errNotThere) {
		return nil, &failure{code: exitRefused, text: "there is no issuer " + s.url,
			hints: []string{"the issuer of a tenant is the server's base_url, /t/, and the tenant's name, " +
				"as in https://sts.example/t/acme; an operator finds it with: bursar tenant list"}}
	}
	if err != nil {
		return nil, fmt.Errorf("read the metadata of the issuer: %w", err)
	}
	m := new(metadata)
	if json.Unmarshal(body, m) != nil {
		return nil, fmt.Errorf("read the metadata of the issuer: %w: it is not JSON", errNoAnswer)
	}
	if m.Issuer != s.url { // RFC 8414 §3.3
		return nil, &failure{code: exitRefused, text: "the metadata found there is that of another issuer",
			hints: []string{"write the issuer exactly as the server does: scheme, host, port, path, no slash at the end"}}
	}
	for _, endpoint := range []string{m.TokenEndpoint, m.IntrospectionEndpoint, m.JWKSURI} {
		if endpoint == "" {
			continue
		}
		if err := scopes.CheckURL(endpoint, scopes.WithPath); err != nil {
			return nil, fmt.Errorf("an endpoint in the metadata of the issuer %w", err)
		}
	}
	return m, nil
}

func (s *issuer) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := send(req)
	switch {
	case err == nil && status == http.StatusNotFound:
		err = errNotThere
	case err == nil && status != http.StatusOK:
		err = fmt.Errorf("%w: it answers with status %d", errNoAnswer, status)
	}
	return body, err
}

// post sends a form, with the client's credentials in the Authorization header (RFC 6749 §2.3.1). A refusal is a
// *failure.
func (s *issuer) post(ctx context.Context, endpoint string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if s.id != "" {
		req.SetBasicAuth(url.QueryEscape(s.id), url.QueryEscape(s.secret))
	}
	status, body, err := send(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, s.oauthFailure(status, body)
	}
	return body, nil
}

// tenant returns the name of the tenant whose issuer it is.
func (s *issuer) tenant() string {
	if _, name, ok := strings.Cut(s.url, "/t/"); ok && scopes.CheckSlug(name) == nil {
		return name
	}
	return "TENANT"
}

// maxIssuerAnswer bounds an answer of an issuer.
const maxIssuerAnswer = 1 << 20

// send sends a request. It follows no redirect, which would carry a token along.
func send(req *http.Request) (status int, body []byte, err error) {
	client := http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxIssuerAnswer+1))
	if err != nil || len(body) > maxIssuerAnswer {
		return 0, nil, fmt.Errorf("%w: its answer cannot be read", errNoAnswer)
	}
	return resp.StatusCode, body, nil
}

// oauthFailure explains a refusal by an OAuth endpoint (RFC 6749 §5.2). Only its members are repeated, never a body
// that is something else.
func (s *issuer) oauthFailure(status int, body []byte) *failure {
	var refusal struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		DecisionID  string `json:"decision_id"`
	}
	f := &failure{code: exitRefused, text: fmt.Sprintf("the issuer answers with status %d", status)}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		f.code = exitUnknown
	}
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		return f
	}
	f.text = refusal.Error
	if refusal.Description != "" {
		f.text += ": " + clause(refusal.Description)
	}
	if refusal.DecisionID != "" {
		f.hints = append(f.hints, "an operator learns the cause with: bursar explain "+s.tenant()+" "+refusal.DecisionID)
	}
	return f
}
