package auditor_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// The key of the log comes from somewhere that the maker of the export cannot write to: a configuration, a contract, a
// first visit to https://sts.example/t/acme/log/vkey.
const logKey = "sts.example/t/acme/log+37fca95c+AftOdP8FxiG0xUWL9nROgbAkWtSoqzvKVbKp/tyOSoPt"

// Verify an export with nothing but the key of the log, and the checkpoint that the last verification left.
func Example() {
	export, err := auditor.OpenExport("testdata/acme.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer export.Close()
	last, err := os.ReadFile("testdata/last.checkpoint")
	if err != nil {
		log.Fatal(err)
	}
	report, err := auditor.Verify(context.Background(), export, auditor.Options{
		Keys:   []string{logKey},
		Issuer: "https://sts.example/t/acme",
		Old:    [][]byte{last},
	})
	if err != nil {
		log.Fatal(err) // it could not be read, or the options mean nothing
	}
	fmt.Println("passed:", report.Passed())
	fmt.Println("integrity:", report.Integrity, "completeness:", report.Completeness)
	fmt.Println(report.Entries, "events of", report.Writers, "servers")
	for _, f := range report.Findings {
		fmt.Println(f.Severity, f.Code, f.Kind, f.Index, f.Message)
	}
	for _, what := range report.NotChecked {
		fmt.Println("not checked:", what)
	}
	// report.Checkpoint is what to keep for the next time.

	// Output:
	// passed: true
	// integrity: ok completeness: ok
	// 60 events of 2 servers
}

// Verify that one event is in the log, with a proof that the log has served and the event that it is about.
func ExampleProof_Verify() {
	text, err := os.ReadFile("testdata/event.tlog-proof")
	if err != nil {
		log.Fatal(err)
	}
	event, err := os.ReadFile("testdata/event.jws")
	if err != nil {
		log.Fatal(err)
	}
	proof, err := auditor.ParseProof(text)
	if err != nil {
		log.Fatal(err)
	}
	checkpoint, err := proof.Verify(event, logKey)
	if err != nil {
		log.Fatal(err)
	}
	set, err := auditor.ParseSET(event)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("entry", proof.Index, "of the", checkpoint.Size, "of", checkpoint.Origin, "is", set.Name)

	// Output:
	// entry 7 of the 60 of sts.example/t/acme/log is token.exchange
}
