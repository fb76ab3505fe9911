package fcmclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/bulksub/bulksub/iidclient"
)

// subscription is a TopicSubscription in JSON. The reference spells the names with
// underscores, and other APIs of Google's in camel case: both are read.
type subscription struct {
	TopicName   once[string]    `json:"topic_name"`
	TopicName2  once[string]    `json:"topicName"`
	CreateTime  once[time.Time] `json:"create_time"`
	CreateTime2 once[time.Time] `json:"createTime"`
}

// topic is empty if the subscription does not say to which one it is.
func (s subscription) topic() (string, error) { return either(s.TopicName, s.TopicName2) }

func (s subscription) public() (Subscription, error) {
	topic, err := s.topic()
	if err != nil {
		return Subscription{}, err
	}
	created, err := either(s.CreateTime, s.CreateTime2)
	if err != nil {
		return Subscription{}, err
	}
	switch created = created.UTC(); {
	case topic == "":
		return Subscription{}, untrusted("a subscription without a topic_name")
	case created.Year() < 0, created.Year() > 9999:
		return Subscription{}, untrusted("a create_time that is no date")
	}
	return Subscription{Topic: topic, Created: created}, nil
}

// once is the value of a name that comes once in its object: encoding/json takes the last of
// several, or mixes them.
type once[T any] struct {
	value T
	said  bool
}

// UnmarshalJSON takes the first value, and refuses any other.
func (o *once[T]) UnmarshalJSON(text []byte) error {
	if o.said {
		return errTwice
	}
	o.said = true
	return json.Unmarshal(text, &o.value)
}

// either is the value of the one of two spellings that is there.
func either[T any](a, b once[T]) (T, error) {
	switch {
	case a.said && b.said:
		return *new(T), errTwice
	case b.said:
		return b.value, nil
	}
	return a.value, nil
}

var errTwice = untrusted("a name that comes twice in an object")

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
			subscription
			Error json.RawMessage `json:"error"`
		}
		if err := decode(body, &reply, &reply.Error); err != nil {
			return err
		}
		got, err := reply.topic()
		if err == nil && got != "" && got != topic {
			err = untrusted("a subscription to another topic")
		}
		return err
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
		List  once[[]subscription] `json:"topic_subscriptions"`
		List2 once[[]subscription] `json:"topicSubscriptions"`
		Next  once[string]         `json:"next_page_token"`
		Next2 once[string]         `json:"nextPageToken"`
		Error json.RawMessage      `json:"error"`
	}
	if err := decode(body, &reply, &reply.Error); err != nil {
		return nil, "", err
	}
	list, err := either(reply.List, reply.List2)
	if err != nil {
		return nil, "", err
	}
	for _, s := range list {
		one, err := s.public()
		if err != nil {
			return nil, "", err
		}
		some = append(some, one)
	}
	if next, err = either(reply.Next, reply.Next2); err != nil {
		return nil, "", err
	}
	return some, next, nil
}

// decode takes a JSON object whose error field, failed, is not there.
func decode(body []byte, reply any, failed *json.RawMessage) error {
	switch err := json.Unmarshal(body, reply); {
	case errors.Is(err, errTwice):
		return err
	case err != nil, !utf8.Valid(body), bytes.TrimLeft(body, " \t\r\n")[0] != '{': // null
		return untrusted("not the JSON object that was expected")
	case *failed != nil:
		return untrusted("an error")
	}
	return nil
}
