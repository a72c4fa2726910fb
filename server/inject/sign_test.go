package inject_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

func macOf(key, text string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// verifySigV4 checks the signature of a request as it was read from the wire, as AWS documents it ("Create a signed AWS
// API request"). It shares no code with what signs.
func verifySigV4(raw, key, service string) error {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	start := strings.Split(lines[0], " ")
	headers := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.ToLower(name); headers[name] != "" {
			return fmt.Errorf("%s is there twice", name)
		}
		headers[name] = strings.Join(strings.Fields(value), " ")
	}
	kind, rest, _ := strings.Cut(headers["authorization"], " ")
	params := map[string]string{}
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(part, "=")
		params[name] = value
	}
	scope := strings.Split(params["Credential"], "/")
	if kind != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[3] != service || scope[4] != "aws4_request" {
		return fmt.Errorf("credential %s %v", kind, scope)
	}
	signed := strings.Split(params["SignedHeaders"], ";")
	canonical := ""
	for _, name := range signed {
		if headers[name] == "" {
			return fmt.Errorf("%s is signed and not there", name)
		}
		canonical += name + ":" + headers[name] + "\n"
	}
	for name := range headers {
		if (strings.HasPrefix(name, "x-amz-") || name == "host" || name == "content-type") && !slices.Contains(signed, name) {
			return fmt.Errorf("%s is not signed", name)
		}
	}
	path, query, _ := strings.Cut(start[1], "?")
	if service != "s3" {
		path = strings.ReplaceAll(uriEncode(path), "%2F", "/")
	}
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	if said := headers["x-amz-content-sha256"]; said == "UNSIGNED-PAYLOAD" {
		hash = said
	} else if said != "" && said != hash {
		return fmt.Errorf("says that the body's hash is %s", said)
	}
	request := strings.Join([]string{start[0], path, canonicalQuery(query), canonical, params["SignedHeaders"], hash},
		"\n")
	text := strings.Join([]string{kind, headers["x-amz-date"], strings.Join(scope[1:], "/"),
		fmt.Sprintf("%x", sha256.Sum256([]byte(request)))}, "\n")
	derived := []byte("AWS4" + key)
	for _, part := range append(scope[1:], text) {
		m := hmac.New(sha256.New, derived)
		m.Write([]byte(part))
		derived = m.Sum(nil)
	}
	if got := hex.EncodeToString(derived); got != params["Signature"] {
		return fmt.Errorf("signature is %s, want %s, of\n%s", params["Signature"], got, request)
	}
	return nil
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var all []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		all = append(all, uriEncode(name)+"\x00"+uriEncode(value))
	}
	slices.Sort(all)
	return strings.ReplaceAll(strings.Join(all, "&"), "\x00", "=")
}

// uriEncode is UriEncode() of the documentation.
func uriEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// TestSigV4AsPublished signs requests whose signatures AWS has published: those of its test suite, and the examples of
// the documentations of IAM and S3.
func TestSigV4AsPublished(t *testing.T) {
	suite := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	object := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	const suiteKey, objectKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, tt := range []struct {
		name, service, method, host, path, query, kind string
		at                                             time.Time
		id, key, want                                  string
	}{
		{"get-vanilla", "service", "GET", "example.amazonaws.com", "/", "", "", suite, "AKIDEXAMPLE", suiteKey,
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "service", "GET", "example.amazonaws.com", "/", "Param2=value2&Param1=value1",
			"",
			suite, "AKIDEXAMPLE", suiteKey, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"post-vanilla", "service", "POST", "example.amazonaws.com", "/", "", "", suite, "AKIDEXAMPLE", suiteKey,
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"ListUsers", "iam", "GET", "iam.amazonaws.com", "/", "Action=ListUsers&Version=2010-05-08",
			"application/x-www-form-urlencoded; charset=utf-8", suite, "AKIDEXAMPLE", suiteKey,
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
		{"GET Bucket Lifecycle", "s3", "GET", "examplebucket.s3.amazonaws.com", "/", "lifecycle", "", object,
			"AKIAIOSFODNN7EXAMPLE", objectKey, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"Get Bucket (List Objects)", "s3", "GET", "examplebucket.s3.amazonaws.com", "/", "max-keys=2&prefix=J", "", object,
			"AKIAIOSFODNN7EXAMPLE", objectKey, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		r := &http.Request{Method: tt.method, Host: tt.host, URL: &url.URL{Scheme: "https", Host: tt.host},
			Header: http.Header{}}
		inject.Place(r, tt.path, tt.query)
		if tt.kind != "" {
			r.Header.Set("Content-Type", tt.kind)
		}
		in := inject.New()
		in.At(func() time.Time { return tt.at })
		target := &inject.Target{Request: r}
		how := tools.Injection{In: "sigv4", SigV4: &tools.SigV4{Region: "us-east-1", Service: tt.service}}
		_, err := in.Apply(t.Context(), target, how, version(1),
			vault.NewValue(map[string]string{vault.AccessKeyID: tt.id, vault.SecretKey: tt.key}))
		if err != nil || !strings.HasSuffix(r.Header.Get("Authorization"), "Signature="+tt.want) ||
			!slices.Equal(target.Once, []string{tt.want}) {
			t.Errorf("%s: %s, want %s, %v", tt.name, r.Header.Get("Authorization"), tt.want, err)
		}
	}
}

// TestSigV4OnTheWire verifies what arrives, whatever is in the call.
func TestSigV4OnTheWire(t *testing.T) {
	w := listen(t, nil)
	address := "http://" + w.Addr().String()
	const key, session = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3Q="
	calls := []call{
		{method: "GET", path: "/v1/a%20b/c%2Fd/!$&'()*+,=:@-._~", query: "b=x%2Fy&a=%C3%A9&b=x-y&b=1"},
		{method: "GET", path: "/v1/x", query: "b&a=", headers: []string{"Accept: */*", "Accept-Encoding: identity"}},
		{method: "POST", path: "/v1/x", body: `{"a":1}`, headers: []string{"Content-Type: application/json",
			"X-Amz-Target: Service.Do  it", "X-Amz-Date: 20200101T000000Z", "Authorization: mine",
			"X-Amz-Security-Token: mine"}},
		{method: "PUT", path: "/v1/x", body: strings.Repeat("x", 5000), stream: true},
	}
	for _, service := range []string{"s3", "execute-api"} {
		for _, c := range calls {
			for _, token := range []string{"", session} {
				u := upstream(t, address, tools.Injection{In: "sigv4", SigV4: &tools.SigV4{Region: "eu-west-1", Service: service}})
				u.Inject[0].SigV4.UnsignedPayload = c.stream // which the configuration of an http upstream does not allow
				target := c.target(t, u)
				texts, err := apply(inject.New(), target, u, map[string]string{vault.AccessKeyID: "AKIAIOSFODNN7EXAMPLE",
					vault.SecretKey: key, vault.SessionToken: token})
				if err != nil {
					t.Fatal(err)
				}
				got := w.send(t, target)
				if err := verifySigV4(got, key, service); err != nil {
					t.Errorf("%s %s: %v", service, c.path, err)
				}
				want := c.path
				if c.query != "" {
					want += "?" + c.query
				}
				if !strings.HasPrefix(got, c.method+" "+want+" HTTP/1.1\r\n") || strings.Contains(got, "mine") ||
					strings.Contains(got, key) || strings.Contains(got, "X-Amz-Security-Token") != (token != "") ||
					(service == "s3" || c.stream) != strings.Contains(got, "X-Amz-Content-Sha256: ") {
					t.Errorf("%s %s: sent\n%.600s", service, c.path, got)
				}
				if signature := target.Once[0]; !hides(texts, got+key, key, session, signature) || len(signature) != 64 {
					t.Errorf("%s %s: an echo is not masked", service, c.path)
				}
			}
		}
	}
	stream := call{method: "PUT", path: "/v1/x", body: "x", stream: true}
	u := upstream(t, address, tools.Injection{In: "sigv4", SigV4: &tools.SigV4{Region: "eu-west-1", Service: "s3"}})
	if _, err := apply(inject.New(), stream.target(t, u), u, map[string]string{vault.AccessKeyID: "AKIA",
		vault.SecretKey: key}); reason(err) != "internal" {
		t.Errorf("a stream was signed: %v", err)
	}
}

// TestHMACOnTheWire verifies what arrives by the documented text.
func TestHMACOnTheWire(t *testing.T) {
	w := listen(t, nil)
	address := "http://" + w.Addr().String()
	now := time.Unix(1_790_000_000, 5e8)
	c := call{method: "POST", path: "/v1/a%20b", query: "b=2&a=1", body: `{"a":"{nonce}"}`, headers: []string{
		"Content-Type: application/json", "X-Signature: mine", "X_Timestamp: mine", "x-nonce: mine"}}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(c.body)))
	tests := []struct {
		how  tools.HMAC
		text string // with %s for the nonce
		sha  func(key, text string) string
	}{
		{tools.HMAC{Header: "X-Signature", Prefix: "sha256=", Template: "{body}"}, c.body,
			func(k, s string) string { return "sha256=" + macOf(k, s) }},
		{tools.HMAC{Header: "X-Signature", Hash: "sha512", Encoding: "base64",
			Template: "{timestamp}.{nonce}.{method}\n{path}?{query}\n{body_sha256}", TimestampHeader: "X-Timestamp",
			NonceHeader: "X-Nonce"},
			strconv.FormatInt(now.Unix(), 10) + ".%s.POST\n/v1/a%%20b?b=2&a=1\n" + sum, mac512},
	}
	seen := map[string]bool{}
	for range 3 {
		for _, tt := range tests {
			u := upstream(t, address, tools.Injection{In: "hmac", HMAC: &tt.how})
			in := inject.New()
			in.At(func() time.Time { return now })
			target := c.target(t, u)
			texts, err := apply(in, target, u, plain)
			if err != nil {
				t.Fatal(err)
			}
			got := w.send(t, target)
			headers := map[string]string{}
			for line := range strings.SplitSeq(got, "\r\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					headers[name] += value
				}
			}
			text, nonce := tt.text, headers["X-Nonce"]
			if tt.how.NonceHeader != "" {
				text = fmt.Sprintf(text, nonce)
				if len(nonce) != 32 || seen[nonce] || headers["X-Timestamp"] != "1790000000" {
					t.Errorf("nonce %q at %q", nonce, headers["X-Timestamp"])
				}
				seen[nonce] = true
			}
			if want := tt.sha(secret, text); headers["X-Signature"] != want {
				t.Errorf("signed %q, want %q", headers["X-Signature"], want)
			}
			if !hides(texts, got, secret, headers["X-Signature"][8:]) || strings.Contains(got, secret) {
				t.Errorf("an echo is not masked: %q in\n%s", texts, got)
			}
			if tt.how.NonceHeader != "" && strings.Contains(got, "mine") {
				t.Errorf("the agent's own is left:\n%s", got)
			}
		}
	}
}

func mac512(key, text string) string {
	m := hmac.New(sha512.New, []byte(key))
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}
