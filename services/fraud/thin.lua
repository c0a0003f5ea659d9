-- Takes a photo's hashes out of the bands, where no other photo has them: among many that look the same it needn't be
-- found. It stays in the bank, and is put back when it comes again.
local name = ARGV[2]
local photo = redis.call('HMGET', prefix .. 'photo:' .. name, 'hash', 'trimmed')
if not photo[1] then return 0 end
for _, hash in ipairs(hashes_of(photo[1], photo[2])) do
    if redis.call('ZCARD', prefix .. 'in-order:' .. hash) ~= 1 then return 0 end
end
for _, hash in ipairs(hashes_of(photo[1], photo[2])) do out_of_the_bands(hash) end
redis.call('HSET', prefix .. 'photo:' .. name, 'thinned', '1')
return 1
