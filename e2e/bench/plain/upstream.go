package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// upstream serves what is called, and writes the certificate that it has made for that.
func upstream(address, file string) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	s := server(address, routes())
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil { // whoever waits for the file finds all of it
		return err
	}
	return s.ServeTLS(listener, "", "")
}

// routes answers with 1 KiB of JSON, with some events and then the end, and with one event and no end.
func routes() http.Handler {
	answer := []byte(`{"items":[` + strings.Repeat(`{"id":1184,"state":"paid","note":"all is well"},`, 21) + "{}]}")
	answer = append(answer, strings.Repeat("\n", 1024-len(answer))...)
	h := http.NewServeMux()
	h.HandleFunc("GET /v1/items", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer) // whoever has left does not need it
	})
	h.HandleFunc("GET /v1/events", func(w http.ResponseWriter, _ *http.Request) {
		for range events {
			event(w)
			time.Sleep(pause)
		}
	})
	h.HandleFunc("GET /v1/quiet", func(w http.ResponseWriter, r *http.Request) {
		event(w)
		<-r.Context().Done()
	})
	return h
}

// A short stream.
const (
	events = 5
	pause  = 2 * time.Millisecond
)

// event sends one event that tells when it was sent.
func event(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
	_ = http.NewResponseController(w).Flush()
}

// selfSigned returns a certificate for this machine's own address.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
