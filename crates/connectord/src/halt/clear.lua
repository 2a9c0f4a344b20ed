-- Ends a halt and keeps who did it, if it is the expected one.
local state, cleared = KEYS[1], KEYS[2]
local scope, act, expected, hand, most = unpack(ARGV)
if redis.call('HEXISTS', state, 'armed') == 0 then
  return redis.error_reply('it is not armed')
end
local flag = redis.call('HGET', state, 'flag:' .. scope)
if not flag then
  return false
end
local read, own = pcall(cjson.decode, flag == '' and hand or flag)
if expected ~= '' then
  local id, by_hand = read and own['id'] or '', cjson.decode(hand)['id']
  -- One that a hand made may have got its time, and an id with it, since it was read: it is the same one, unless that
  -- time is later than whoever ends it looked.
  local is_counted = expected == by_hand and string.sub(id, 1, 5) == 'hand-'
    and (tonumber(own['since']) or 0) <= (tonumber(cjson.decode(act)['at']) or 0) + 5
  if id ~= expected and not is_counted then
    return false
  end
end
-- Nobody counted it when it was made, so every writ from before dies.
if flag == '' then
  flag = hand
  redis.call('HINCRBY', state, 'epoch', 1)
end
redis.call('LPUSH', cleared, '{"flag":' .. flag .. ',"act":' .. act .. '}')
redis.call('LTRIM', cleared, 0, tonumber(most) - 1)
redis.call('HDEL', state, 'flag:' .. scope)
redis.call('HINCRBY', state, 'generation', 1)
return flag
