// Command issuer runs a demonstration issuer of identity tokens as a process of its own, for tests. Its first line on
// standard output is its base URL.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("issuer: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on; keep it on loopback")
	kind := flag.String("kind", string(demoissuer.OIDC), "what to imitate: oidc, kubernetes, spiffe, github")
	issuer := flag.String("issuer", "", "`URL` that tokens name as iss; the base URL if empty")
	domain := flag.String("trust-domain", "", "trust domain of SPIFFE IDs")
	audience := flag.String("audience", "", "aud of tokens that are minted without one")
	flag.Parse()

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	base := "http://" + listener.Addr().String()
	if *issuer == "" {
		*issuer = base
	}
	handler, err := demoissuer.New(demoissuer.Config{
		Kind: demoissuer.Kind(*kind), URL: *issuer, TrustDomain: *domain, Audience: *audience,
	})
	if err != nil {
		return err
	}
	fmt.Println(base)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(listener)
}
