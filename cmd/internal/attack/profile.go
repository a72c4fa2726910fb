package attack

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// Profile says how to ask a server for tokens. What it does not offer cannot be tested, and is reported as skipped.
// docs/attack.md describes every field.
type Profile struct {
	Server     Endpoints   `yaml:"server"`
	Client     Client      `yaml:"client"`
	Subject    Source      `yaml:"subject"`
	Request    Request     `yaml:"request"`
	Try        Try         `yaml:"try"`
	Delegation *Delegation `yaml:"delegation"`
	Again      *Again      `yaml:"again"`
	Others     Others      `yaml:"others"`
	// Refused are subject tokens that the server must refuse, by what is wrong with them.
	Refused  map[string]*Source `yaml:"refused"`
	Callback Callback           `yaml:"callback"`

	name string
	dir  string // relative paths begin here
}

// Endpoints are the server's, where they are not to be taken from its metadata.
type Endpoints struct {
	Issuer        string `yaml:"issuer"`
	Token         string `yaml:"token_endpoint"`
	Introspection string `yaml:"introspection_endpoint"`
	Revocation    string `yaml:"revocation_endpoint"`
	Keys          string `yaml:"jwks_uri"`
}

// Callback is where the suite listens for whoever follows a header of a forged token, and how the server reaches that.
type Callback struct {
	Listen string `yaml:"listen"`
	URL    string `yaml:"url"`
}

// Client is who asks, and how it authenticates.
type Client struct {
	ID        string `yaml:"id"`
	Auth      string `yaml:"auth"`
	Secret    string `yaml:"secret"`
	SecretIn  string `yaml:"secret_file"`
	SecretEnv string `yaml:"secret_env"`
	Key       Key    `yaml:",inline"`
	Audience  string `yaml:"audience"`
}

// Key is a private key in a file.
type Key struct {
	File string `yaml:"key_file"`
	ID   string `yaml:"kid"`
	Alg  string `yaml:"alg"`
}

// The ways in which a client authenticates.
const (
	authNone  = "none"
	authBasic = "basic"
	authPost  = "post"
	authKey   = "private_key_jwt"
)

// Source is where tokens come from: exactly one of Issuer, Command and Request.
type Source struct {
	Type    string            `yaml:"type"`
	Issuer  *Issuer           `yaml:"issuer"`
	Command []string          `yaml:"command"`
	Request map[string]string `yaml:"request"`
	Client  *Client           `yaml:"client"`
	Once    bool              `yaml:"once"`
	Token   string            `yaml:"token_endpoint"`
	Keys    string            `yaml:"jwks_uri"`
}

// Issuer is a trusted issuer whose private key the suite has.
type Issuer struct {
	ISS      string         `yaml:"iss"`
	Key      Key            `yaml:",inline"`
	Audience string         `yaml:"audience"`
	Header   map[string]any `yaml:"header"`
	Claims   map[string]any `yaml:"claims"`
	Lifetime time.Duration  `yaml:"lifetime"`
}

// Request is what the good request asks for.
type Request struct {
	Resource   string            `yaml:"resource"`
	Audience   string            `yaml:"audience"`
	Scope      string            `yaml:"scope"`
	Parameters map[string]string `yaml:"parameters"`
}

// Try is what else there is to ask for.
type Try struct {
	NarrowerScope  string `yaml:"narrower_scope"`
	DeniedScope    string `yaml:"denied_scope"`
	DeniedResource string `yaml:"denied_resource"`
	DeniedAudience string `yaml:"denied_audience"`
	ForeignScope   string `yaml:"foreign_scope"`
	SameAudience   string `yaml:"same_audience"`
	Flood          int    `yaml:"flood"`
}

// Delegation is an exchange with an actor token.
type Delegation struct {
	Client     *Client        `yaml:"client"`
	Subject    *Source        `yaml:"subject"`
	Actor      Source         `yaml:"actor"`
	Request    *Request       `yaml:"request"`
	MayAct     map[string]any `yaml:"may_act"`
	OtherActor *Source        `yaml:"other_actor"`
}

// Again is the exchange of a token that the server itself issued.
type Again struct {
	Client  *Client  `yaml:"client"`
	Request *Request `yaml:"request"`
}

// Others are clients beside the one that asks.
type Others struct {
	Client         *Client `yaml:"client"`
	ResourceServer *Client `yaml:"resource_server"`
	Ungranted      *Client `yaml:"ungranted_client"`
	Disabled       *Client `yaml:"disabled_client"`
	Foreign        *Client `yaml:"foreign_client"`
}

var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// ReadProfile reads a profile strictly, and the keys and secrets that it names. ${NAME} stands for a variable of the
// environment. The error is a *Mistakes.
func ReadProfile(file string, text []byte, env func(string) string) (*Profile, error) {
	p := &Profile{name: filepath.Base(file), dir: filepath.Dir(file)}
	m := &Mistakes{File: file}
	text = variable.ReplaceAllFunc(text, func(name []byte) []byte {
		value := env(string(name[2 : len(name)-1]))
		if value == "" {
			m.add("%s is not in the environment: export it", name)
		}
		return []byte(value)
	})
	if len(m.List) > 0 { // what misses them would only be called wrong again
		return nil, m
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	switch err := d.Decode(p); {
	case errors.Is(err, io.EOF):
		m.add("it is empty")
	case err != nil:
		m.addYAML(err)
	default:
		if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
			m.add("it must be one document")
		}
		p.check(m, env)
	}
	if len(m.List) > 0 {
		return nil, m
	}
	return p, nil
}

func (p *Profile) check(m *Mistakes, env func(string) string) {
	clients := map[string]*Client{"client": &p.Client, "others.client": p.Others.Client,
		"others.resource_server": p.Others.ResourceServer, "others.ungranted_client": p.Others.Ungranted,
		"others.disabled_client": p.Others.Disabled, "others.foreign_client": p.Others.Foreign}
	sources := map[string]*Source{"subject": &p.Subject}
	if d := p.Delegation; d != nil {
		clients["delegation.client"] = d.Client
		sources["delegation.subject"], sources["delegation.actor"] = d.Subject, &d.Actor
		sources["delegation.other_actor"] = d.OtherActor
	}
	if p.Again != nil {
		clients["again.client"] = p.Again.Client
	}
	for name, source := range p.Refused {
		if !slices.ContainsFunc(refusals, func(c findings.Check) bool { return field(c) == name }) {
			m.add("refused.%s is no kind of token that must be refused", name)
		}
		sources["refused."+name] = source
	}
	for at, s := range sources {
		if s != nil {
			s.check(m, at)
			clients[at+".client"] = s.Client
		}
	}
	for at, c := range clients {
		if c != nil {
			c.check(m, at)
		}
	}
	if len(m.List) == 0 {
		p.checkFiles(m, sources, clients, env)
	}
	slices.Sort(m.List)
}

// checkFiles reads the keys and secrets, so that a run does not begin that would miss them.
func (p *Profile) checkFiles(m *Mistakes, sources map[string]*Source, clients map[string]*Client,
	env func(string) string) {
	for _, s := range sources {
		if s != nil && s.Issuer != nil {
			if _, err := readKey(p, s.Issuer.Key); err != nil {
				m.add("%v", err)
			}
		}
	}
	for _, c := range clients {
		if _, err := newClient(p, c, "", env); err != nil {
			m.add("%v", err)
		}
	}
}

func (c *Client) check(m *Mistakes, at string) {
	secrets := 0
	for _, s := range []string{c.Secret, c.SecretIn, c.SecretEnv} {
		if s != "" {
			secrets++
		}
	}
	switch c.Auth {
	case authNone:
	case authBasic, authPost:
		if c.ID == "" || secrets != 1 {
			m.add("%s needs an id and one of secret, secret_file and secret_env", at)
		}
	case authKey:
		if c.ID == "" || c.Key.File == "" {
			m.add("%s needs an id and a key_file", at)
		}
	default:
		m.add("%s.auth must be none, basic, post or private_key_jwt", at)
	}
}

func (s *Source) check(m *Mistakes, at string) {
	ways := 0
	for _, given := range []bool{s.Issuer != nil, len(s.Command) > 0, len(s.Request) > 0} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		m.add("%s needs one of issuer, command and request", at)
	}
	if s.Type == "" {
		m.add("%s.type is missing: jwt, id_token, access_token or a URI", at)
	}
	if i := s.Issuer; i != nil && (i.ISS == "" || i.Key.File == "" || i.Audience == "") {
		m.add("%s.issuer needs iss, key_file and audience", at)
	}
}

// path is where a file of the profile is.
func (p *Profile) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(p.dir, file)
}
