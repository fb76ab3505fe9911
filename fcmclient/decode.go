package fcmclient

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"

	"github.com/bulksub/bulksub/iidclient"
)

// subscription is a TopicSubscription in JSON. The reference spells the names with
// underscores, and other APIs of Google's in camel case: both are read.
type subscription struct {
	TopicName   string    `json:"topic_name"`
	TopicName2  string    `json:"topicName"`
	CreateTime  time.Time `json:"create_time"`
	CreateTime2 time.Time `json:"createTime"`
}

func (s subscription) public() (Subscription, error) {
	topic, created := cmp.Or(s.TopicName, s.TopicName2), cmp.Or(s.CreateTime, s.CreateTime2)
	if topic == "" {
		return Subscription{}, untrusted("a subscription without a topic_name")
	}
	return Subscription{Topic: topic, Created: created.UTC()}, nil
}

func untrusted(reason string) error { return &iidclient.ReplyError{Reason: reason} }

// decodeObject takes any JSON object that is no error: what a status of 200 says is enough.
func decodeObject(body []byte) error {
	var reply struct {
		Error json.RawMessage `json:"error"`
	}
	return decode(body, &reply, &reply.Error)
}

// decodeSubscribed takes the subscription to the topic, or an object that does not say to
// which one.
func decodeSubscribed(topic string) func(body []byte) error {
	return func(body []byte) error {
		var reply struct {
			Topic  string          `json:"topic_name"`
			Topic2 string          `json:"topicName"`
			Error  json.RawMessage `json:"error"`
		}
		if err := decode(body, &reply, &reply.Error); err != nil {
			return err
		}
		if got := cmp.Or(reply.Topic, reply.Topic2); got != "" && got != topic {
			return untrusted("a subscription to another topic")
		}
		return nil
	}
}

func decodeSubscription(body []byte) (Subscription, error) {
	var reply struct {
		subscription
		Error json.RawMessage `json:"error"`
	}
	if err := decode(body, &reply, &reply.Error); err != nil {
		return Subscription{}, err
	}
	return reply.public()
}

// decodePage takes a page of subscriptions, none of which is without a topic, and the token of
// the next page, if there is one.
func decodePage(body []byte) (some []Subscription, next string, err error) {
	var reply struct {
		List  []subscription  `json:"topic_subscriptions"`
		List2 []subscription  `json:"topicSubscriptions"`
		Next  string          `json:"next_page_token"`
		Next2 string          `json:"nextPageToken"`
		Error json.RawMessage `json:"error"`
	}
	if err := decode(body, &reply, &reply.Error); err != nil {
		return nil, "", err
	}
	for _, s := range append(reply.List, reply.List2...) {
		one, err := s.public()
		if err != nil {
			return nil, "", err
		}
		some = append(some, one)
	}
	return some, cmp.Or(reply.Next, reply.Next2), nil
}

// decode takes a JSON object whose error field, failed, is not there.
func decode(body []byte, reply any, failed *json.RawMessage) error {
	switch err := json.Unmarshal(body, reply); {
	case err != nil, bytes.TrimLeft(body, " \t\r\n")[0] != '{': // null
		return untrusted("not the JSON object that was expected")
	case *failed != nil:
		return untrusted("an error")
	}
	return nil
}
