package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
)

// Cause returns what an error of a request says of the network or of certificates, and nothing of what the other side
// has sent: net/http repeats a status line or a header that is none, and in it may be the key that was sent there.
func Cause(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(err, ErrRefused) {
		return err // Guard's own
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return bad
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return name
	}
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		return errors.New("it took too long")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return errors.New("tls: " + record.Msg)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return alert
	}
	return errors.New("the connection broke, or what came over it was no answer in HTTP")
}
