-- The listing was removed, for ever: its photos match nothing any more. Returns whether that was its seller's word; ''
-- is that of an event that names none.
local listing, seller = ARGV[4], ARGV[5]
local known = redis.call('HGET', prefix .. 'listing:' .. listing, 'seller')
if seller ~= '' and known and known ~= seller then return 0 end
redis.call('HSET', prefix .. 'listing:' .. listing, 'removed', '1')
redis.call('HDEL', prefix .. 'listing:' .. listing, 'change')
if seller ~= '' then redis.call('HSETNX', prefix .. 'listing:' .. listing, 'seller', seller) end
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do depart(sha .. '/' .. listing) end
redis.call('DEL', prefix .. 'photos:' .. listing, prefix .. 'current:' .. listing)
return 1
