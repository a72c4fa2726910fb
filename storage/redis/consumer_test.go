package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// aReader is the user of docs/operations.md who follows one log and can change nothing.
const aReader = "ACL SETUSER siem on >canary resetkeys ~{acme}:aud:ev " +
	"-@all +xreadgroup +xack +xautoclaim +xpending +xinfo|stream +xrange +ping"

// TestAConsumerGroupFollowsALog: the log is an ordinary stream. Whoever consumes it with a group is given each event
// once, in order, with its index, and what one consumer took and did not acknowledge goes to another. A user who may do
// that may do nothing else.
func TestAConsumerGroupFollowsALog(t *testing.T) {
	server := storagetest.StartRedis(t)
	db := open(t, redis.Config{URL: server.URL()})
	commits := func(writer string, from, count int64) {
		t.Helper()
		for first := from; first < from+count; first++ {
			if _, err := db.Commit(ctx, "acme", commit(writer, first, ledger.Change{})); err != nil {
				t.Fatal(err)
			}
		}
	}
	commits("a", 1, 3)
	server.Command(t, "XGROUP CREATE {acme}:aud:ev siem 0")
	server.Command(t, aReader)
	reader := goredis.NewClient(&goredis.Options{Addr: server.Addr, Username: "siem", Password: "canary",
		DisableIdentity: true, Protocol: 2})
	defer func() { _ = reader.Close() }()

	var got []string
	take := func(messages []goredis.XMessage, ack bool) {
		t.Helper()
		for _, m := range messages {
			got = append(got, fmt.Sprintf("%s=%s", m.ID, m.Values["s"]))
			if ack {
				if err := reader.XAck(ctx, "{acme}:aud:ev", "siem", m.ID).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	next := func(consumer string, ack bool) {
		t.Helper()
		streams, err := reader.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "siem", Consumer: consumer,
			Streams: []string{"{acme}:aud:ev", ">"}, Count: 2, Block: 10 * time.Second}).Result()
		if err != nil {
			t.Fatal(err)
		}
		take(streams[0].Messages, ack)
	}
	next("one", true)
	commits("b", 1, 2)
	next("one", false) // and it dies
	next("two", true)
	claimed, _, err := reader.XAutoClaim(ctx, &goredis.XAutoClaimArgs{Stream: "{acme}:aud:ev", Group: "siem",
		Consumer: "two", Start: "0"}).Result()
	if err != nil {
		t.Fatal(err)
	}
	take(claimed, true)
	want := []string{"1-0=a 1", "2-0=a 2", "3-0=a 3", "4-0=b 1", "5-0=b 2", "3-0=a 3", "4-0=b 1"}
	if !slices.Equal(got, want) {
		t.Errorf("consumed %v", got)
	}
	if pending, err := reader.XPending(ctx, "{acme}:aud:ev", "siem").Result(); err != nil || pending.Count != 0 {
		t.Errorf("%+v %v", pending, err)
	}
	mayNothingElse(t, reader)
	commits("a", 4, 1)
	if p, err := db.Position(ctx, "acme"); err != nil || p.Index != 6 {
		t.Errorf("%+v %v", p, err)
	}
}

// mayNothingElse fails the test if the user can change the log, or see something else.
func mayNothingElse(t *testing.T, reader *goredis.Client) {
	t.Helper()
	for _, command := range []string{
		"XADD {acme}:aud:ev 99-0 s forged", "XDEL {acme}:aud:ev 1-0", "XTRIM {acme}:aud:ev MAXLEN 0",
		"XSETID {acme}:aud:ev 99-0", "XGROUP DESTROY {acme}:aud:ev siem", "DEL {acme}:aud:ev", "UNLINK {acme}:aud:ev",
		"RENAME {acme}:aud:ev {acme}:x", "EXPIRE {acme}:aud:ev 1", "XRANGE {globex}:aud:ev - +", "HGETALL {acme}:aud:log",
		"HGETALL {acme}:meta", "HGETALL {acme}:row:client", "HSET {acme}:aud:sink:siem next 9", "GET bursar:format",
		"KEYS *", "SCAN 0", "FLUSHALL", "ACL LIST", "CONFIG GET *", "EVAL return(1) 0",
	} {
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, word)
		}
		if err := reader.Do(ctx, args...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: %v", command, err)
		}
	}
}
