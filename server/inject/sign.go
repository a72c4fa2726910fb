package inject

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// The headers of a signed call, beside Authorization.
const (
	amzDate  = "X-Amz-Date"
	amzHash  = "X-Amz-Content-Sha256"
	amzToken = "X-Amz-Security-Token"
)

var signer = v4.NewSigner()

// sigV4 signs a call with AWS Signature Version 4. What is signed of it are method, path and query as they are sent,
// the host, the type and the length of the body, all headers that begin with X-Amz-, and the body unless that is a
// stream.
func (t *Target) sigV4(ctx context.Context, how *tools.SigV4, v *vault.Value, now time.Time) ([]string, error) {
	id, key, session := v.Field(vault.AccessKeyID), v.Field(vault.SecretKey), v.Field(vault.SessionToken)
	switch {
	case how == nil:
		return nil, errPlace()
	case !isHeaderText(id) || !isHeaderText(key) || session != "" && !isHeaderText(session):
		return nil, errValue()
	}
	for _, name := range []string{authorization, amzDate, amzHash, amzToken} {
		t.remove(name)
	}
	payload := "UNSIGNED-PAYLOAD"
	if !how.UnsignedPayload {
		body, err := t.whole()
		if err != nil {
			return nil, err
		}
		payload = hexSHA256(body)
	}
	signed := t.forSignature()
	object := how.Service == "s3" || strings.HasPrefix(how.Service, "s3-")
	if object || how.UnsignedPayload {
		signed.Header.Set(amzHash, payload)
	}
	credentials := aws.Credentials{AccessKeyID: id, SecretAccessKey: key, SessionToken: session}
	err := signer.SignHTTP(ctx, credentials, signed, payload, how.Service, how.Region, now, func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = object // S3 alone takes the path for escaped already
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "internal", "Internal error.", err)
	}
	for _, name := range []string{authorization, amzDate, amzHash, amzToken} {
		if text := signed.Header.Get(name); text != "" {
			t.Request.Header.Set(name, text)
		}
	}
	t.Request.Host = signed.Host // without a port that is the default
	_, signature, _ := strings.Cut(signed.Header.Get(authorization), "Signature=")
	t.Once = append(t.Once, signature)
	if session == "" {
		return []string{key}, nil
	}
	return []string{key, session}, nil
}

// forSignature returns the call with what is signed of it.
func (t *Target) forSignature() *http.Request {
	from := t.Request
	r := &http.Request{Method: from.Method, Host: from.Host, Header: http.Header{}, ContentLength: from.ContentLength,
		URL: &url.URL{Scheme: from.URL.Scheme, Host: from.URL.Host, Opaque: from.URL.Opaque, RawQuery: from.URL.RawQuery}}
	for name, values := range from.Header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
			r.Header[name] = values
		}
	}
	return r
}

// whole returns the body of a call that is not a stream.
func (t *Target) whole() ([]byte, error) {
	if t.Body == nil && t.Request.Body != nil && t.Request.Body != http.NoBody {
		return nil, fault.New(fault.Internal, "internal", "Internal error.")
	}
	return t.Body, nil
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// hmac signs a call with an HMAC (RFC 2104) of the text that the template makes of it.
func (t *Target) hmac(how *tools.HMAC, key string, now time.Time) ([]string, error) {
	switch {
	case how == nil:
		return nil, errPlace()
	case key == "":
		return nil, errValue()
	}
	var body []byte
	if strings.Contains(how.Template, "{body") {
		var err error
		if body, err = t.whole(); err != nil {
			return nil, err
		}
	}
	timestamp, nonce := strconv.FormatInt(now.Unix(), 10), newNonce()
	text := strings.NewReplacer("{method}", t.Request.Method, "{path}", t.Request.URL.Opaque,
		"{query}", t.Request.URL.RawQuery, "{body}", string(body), "{body_sha256}", hexSHA256(body),
		"{timestamp}", timestamp, "{nonce}", nonce).Replace(how.Template)
	newHash := sha256.New
	if how.Hash == "sha512" {
		newHash = sha512.New
	}
	signature := encodeMAC(newHash, how.Encoding, key, text)
	if how.TimestampHeader != "" {
		t.remove(how.TimestampHeader)
		t.Request.Header.Set(how.TimestampHeader, timestamp)
	}
	if how.NonceHeader != "" {
		t.remove(how.NonceHeader)
		t.Request.Header.Set(how.NonceHeader, nonce)
	}
	t.Once = append(t.Once, signature)
	return []string{key}, t.set(how.Header, how.Prefix+signature, signature)
}

func encodeMAC(newHash func() hash.Hash, encoding, key, text string) string {
	mac := hmac.New(newHash, []byte(key))
	_, _ = mac.Write([]byte(text)) // a hash takes everything
	if encoding == "base64" {
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
