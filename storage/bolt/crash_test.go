package bolt_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// The test binary runs itself as the process that is killed, or that runs out of disk.
const (
	childPath  = "BURSAR_BOLT_CHILD"       // the store's file
	childLimit = "BURSAR_BOLT_CHILD_LIMIT" // any value: files may not grow past a few megabytes
)

// child commits from several writers and prints every acknowledged commit.
func child(path string) int {
	limited := os.Getenv(childLimit) != ""
	db, err := bolt.Open(bolt.Config{Path: path})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if limited {
		signal.Ignore(syscall.SIGXFSZ) // so that write(2) fails instead
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4 << 20, Max: 4 << 20}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	boot := ledger.NewID(time.Now())
	for i := range 8 {
		group.Go(func() {
			writer, tenant := fmt.Sprintf("%s-%d", boot, i), ledger.Tenant(fmt.Sprintf("tenant%d", i%3))
			for n := int64(1); ; n++ {
				data := fmt.Sprintf("%s#%d#%s", writer, n, strings.Repeat("x", 700))
				p, err := db.Commit(ctx, tenant, commit(writer, n, data))
				if err != nil {
					mu.Lock()
					fmt.Printf("failed %t\n", errors.Is(err, fault.ErrUnavailable))
					mu.Unlock()
					return
				}
				mu.Lock()
				fmt.Printf("ack %s %d %s\n", tenant, p.Index, data[:len(data)-700])
				mu.Unlock()
			}
		})
	}
	group.Wait()
	_, read := db.Position(ctx, "tenant0")
	fmt.Printf("failed %t\n", errors.Is(read, fault.ErrUnavailable))
	return 0
}

// acknowledged is what the child was told: tenant and index to the beginning of the data.
type acknowledged map[ledger.Tenant]map[int64]string

// run starts the child, kills it after enough acknowledgements (0: lets it end) and adds what it was told.
func (a acknowledged) run(t *testing.T, file string, enough int, env ...string) (failures []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childPath+"="+file)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for count := 0; lines.Scan(); count++ {
		var tenant ledger.Tenant
		var index int64
		var data string
		if n, _ := fmt.Sscanf(lines.Text(), "ack %s %d %s", &tenant, &index, &data); n == 3 {
			if a[tenant] == nil {
				a[tenant] = map[int64]string{}
			}
			if a[tenant][index] != "" {
				t.Fatalf("index %d of %s was given twice", index, tenant)
			}
			a[tenant][index] = data
		} else if strings.HasPrefix(lines.Text(), "failed") {
			failures = append(failures, lines.Text())
		}
		if count+1 == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // a killed child is an error here
	return failures
}

// check finds every acknowledged commit in the file, at its index.
func (a acknowledged) check(t *testing.T, file string) {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for tenant, told := range a {
		entries, err := db.Events(ctx, tenant, 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if e.Index != int64(i) {
				t.Fatalf("entry %d of %s is at %d", e.Index, tenant, i)
			}
		}
		for index, data := range told {
			if index >= int64(len(entries)) || !strings.HasPrefix(string(entries[index].Data), data) {
				t.Fatalf("%s lost the acknowledged entry %d", tenant, index)
			}
		}
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	rounds := 3
	if storagetest.Full() {
		rounds = 25
	}
	file, told := path(t), acknowledged{}
	for i := range rounds {
		if failures := told.run(t, file, 200+100*(i%5)); len(failures) > 0 {
			t.Fatal(failures)
		}
		told.check(t, file)
	}
}

func TestAFailedWriteStopsTheStoreAndLosesNothing(t *testing.T) {
	file, told := path(t), acknowledged{}
	failures := told.run(t, file, 0, childLimit+"=1")
	if len(failures) != 9 {
		t.Fatalf("%d of 8 writers and 1 reader failed", len(failures))
	}
	for _, failure := range failures {
		if failure != "failed true" {
			t.Fatal("a failure was not fault.ErrUnavailable")
		}
	}
	if len(told) == 0 {
		t.Fatal("nothing was acknowledged before the disk was full")
	}
	told.check(t, file)
}
