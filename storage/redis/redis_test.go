package redis_test

import (
	"testing"

	"context"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestConformance(t *testing.T) {
	db, err := redis.Open(context.Background(), redis.Config{URL: storagetest.Redis(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	storagetest.Run(t, func(*testing.T) storage.Store { return db })
}
