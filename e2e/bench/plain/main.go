// Command plain is what the shim is measured between and beside: an upstream that answers at once, and a reverse proxy
// that does nothing but pass calls on.
//
//	plain upstream ADDRESS FILE   serves https at the address, and writes the certificate to the file
//	plain proxy ADDRESS URL FILE  passes calls on to the URL, whose certificate is in the file
package main

import (
	"errors"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("plain: ")
	log.Fatal(run(os.Args[1:]))
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "upstream":
		return upstream(args[1], args[2])
	case len(args) == 4 && args[0] == "proxy":
		h, err := proxy(args[2], args[3])
		if err != nil {
			return err
		}
		return server(args[1], h).ListenAndServe()
	}
	return errors.New("usage: plain upstream ADDRESS FILE | plain proxy ADDRESS URL FILE")
}

func server(address string, h http.Handler) *http.Server {
	return &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 5 * time.Second}
}
