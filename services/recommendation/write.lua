-- The record and its fields change together, and only if nobody changed them since they were read. Returns whether they
-- did.
--   KEYS  the record, its fields
--   ARGV  the version read, the new one, the record or '', the seconds that fields without a record are kept,
--         how many fields go, their names, and each that changed with its value
local version = redis.call('HGET', KEYS[2], 'version') or '0'
if version ~= ARGV[1] then return 0 end
local kept_seconds, gone = ARGV[4], tonumber(ARGV[5])
for i = 6, 5 + gone do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = 6 + gone, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[2], 'version', ARGV[2])
if ARGV[3] ~= '' then
    redis.call('SET', KEYS[1], ARGV[3])
    redis.call('PERSIST', KEYS[2])
else
    redis.call('EXPIRE', KEYS[2], kept_seconds)
end
return 1
